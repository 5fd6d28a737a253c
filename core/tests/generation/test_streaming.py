"""What users of streams see: deltas, whole texts so far, no broken character, no beginning of a stop string."""

from __future__ import annotations

from vllm import LLM, SamplingParams
from vllm.sampling_params import RequestOutputKind

COUNT = "Count: 17 18 19"
GREEDY = SamplingParams(temperature=0.0, max_tokens=24)


def test_deltas_cumulative_and_final_agree_and_show_no_broken_character(llm: LLM) -> None:
    prompt = "<|im_start|>user\nRepeat: 你好，世界 😀🎉🚀 Привет<|im_end|>\n<|im_start|>assistant\n"
    final = llm.generate(prompt, GREEDY, use_tqdm=False)[0].outputs[0]
    assert "�" not in final.text and any(ord(char) > 0x2000 for char in final.text)
    pieces = _stream(llm, prompt, RequestOutputKind.DELTA)
    grown = _stream(llm, prompt, RequestOutputKind.CUMULATIVE)
    assert "".join(pieces) == final.text and len(pieces) > 5
    assert grown[-1] == final.text and all(final.text.startswith(each) for each in grown)
    assert not any("�" in piece for piece in pieces)


def test_a_stream_never_shows_the_beginning_of_a_stop_string(llm: LLM) -> None:
    pieces = _stream(llm, COUNT, RequestOutputKind.DELTA, stop=["24 25 26"])
    assert "".join(pieces) == " 20 21 22 23 "


def test_a_stream_speaks_at_its_interval(llm: LLM) -> None:
    """The first token at once, then every five, then the rest."""
    engine = llm.llm_engine
    engine.add_request(
        "slow",
        COUNT,
        SamplingParams(
            temperature=0.0, max_tokens=14, ignore_eos=True, output_kind=RequestOutputKind.DELTA, stream_interval=5
        ),
    )
    sizes = []
    while engine.has_unfinished_requests():
        sizes += [len(output.outputs[0].token_ids) for output in engine.step()]
    assert sizes == [1, 5, 5, 3]


def _stream(llm: LLM, prompt: str, kind: RequestOutputKind, **fields: object) -> list[str]:
    engine = llm.llm_engine
    engine.add_request("stream", prompt, SamplingParams(temperature=0.0, max_tokens=24, output_kind=kind, **fields))
    texts = []
    while engine.has_unfinished_requests():
        texts += [output.outputs[0].text for output in engine.step() if output.outputs]
    return texts
