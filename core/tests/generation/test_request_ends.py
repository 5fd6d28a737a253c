"""The edges of a request's life: ids used again, ends by a stop string, a grammar or nothing at all, and what stays behind."""

from __future__ import annotations

import numpy as np
import pytest

from core.tests.generation.conftest import NewLLM
from vllm import LLM, SamplingParams
from vllm.engine.llm_engine import LLMEngine
from vllm.errors import InvalidRequestError
from vllm.outputs import RequestOutput
from vllm.sampling.logits_processors_interface import BatchUpdate, LogitsProcessor
from vllm.sampling.rng import uniforms
from vllm.sampling_params import BeamSearchParams, RequestOutputKind, StructuredOutputsParams

COUNT = "Count: 17 18 19"
WORD = StructuredOutputsParams(regex="[a-z]{30}")


def greedy(max_tokens: int, **fields: object) -> SamplingParams:
    return SamplingParams(**{"temperature": 0.0, "max_tokens": max_tokens, "ignore_eos": True, **fields})


def finals(engine: LLMEngine) -> dict[str, RequestOutput]:
    """Run to the end; the last output of each request."""
    last: dict[str, RequestOutput] = {}
    while engine.has_unfinished_requests():
        last |= {output.request_id: output for output in engine.step()}
    assert engine.get_num_unfinished_requests() == 0
    return last


# -- ids -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("async_scheduling", [False, True], ids=["sync", "async"])
def test_the_id_of_an_aborted_request_may_be_used_at_once(new_llm: NewLLM, async_scheduling: bool) -> None:
    """The end of the first use, told later, neither ends the second nor takes its grammar away."""
    engine = new_llm(async_scheduling=async_scheduling).llm_engine
    engine.add_request("mine", COUNT, greedy(50, structured_outputs=WORD))
    engine.step()
    engine.abort_request("mine")
    engine.add_request("mine", COUNT, greedy(40, structured_outputs=WORD, ignore_eos=False))
    (output,) = finals(engine)["mine"].outputs
    assert (output.finish_reason, len(output.text)) == ("stop", 30)


def test_the_id_of_a_request_that_a_stop_string_ended_may_be_used_at_once(llm: LLM) -> None:
    engine = llm.llm_engine
    engine.add_request("mine", COUNT, greedy(50, stop=["22"]))
    while not any(output.finished for output in engine.step()):
        pass
    engine.add_request("mine", COUNT, greedy(8))
    (output,) = finals(engine)["mine"].outputs
    assert (output.finish_reason, len(output.token_ids)) == ("length", 8)


def test_outputs_of_n_take_no_id_that_a_user_might_give(llm: LLM) -> None:
    engine = llm.llm_engine
    engine.add_request("a", COUNT, SamplingParams(n=2, max_tokens=12, ignore_eos=True))
    for request_id in ("0_a", "1_a", "a#0", "a.1"):
        engine.add_request(request_id, COUNT, greedy(3))
    last = finals(engine)
    assert [len(output.token_ids) for output in last["a"].outputs] == [12, 12]
    assert [len(last[request_id].outputs[0].token_ids) for request_id in ("0_a", "1_a", "a#0", "a.1")] == [3] * 4


def test_no_output_of_n_draws_as_another_does_some_tokens_later(llm: LLM) -> None:
    request = llm.llm_engine._inputs.process("a", COUNT, SamplingParams(n=8, seed=7))
    positions = np.arange(40)
    draws = [uniforms(np.full(40, child.seed, np.uint64), positions, 1)[:, 0] for child in request.children]
    assert len(np.unique(np.round(np.concatenate(draws), 6))) > 310, "320 draws, all different but for chance"


# -- ends ----------------------------------------------------------------------------------------------------------------------


def test_times_and_counts_of_what_a_stop_string_ended_are_complete(new_llm: NewLLM) -> None:
    llm = new_llm(disable_log_stats=False)
    (output,) = llm.generate(COUNT, greedy(50, stop=["22"]), use_tqdm=False)
    metrics = output.metrics
    assert metrics is not None and metrics.num_generation_tokens == len(output.outputs[0].token_ids)
    assert None not in (
        metrics.scheduled_ts,
        metrics.first_token_ts,
        metrics.last_token_ts,
        metrics.first_token_latency,
    )
    values = {metric.name: metric for metric in llm.get_metrics()}
    assert values["vllm:request_generation_tokens"].sum == metrics.num_generation_tokens
    assert values["vllm:time_to_first_token_seconds"].count == 1
    ended = {m.labels["finished_reason"]: m.value for m in llm.get_metrics() if m.name == "vllm:request_success"}
    assert {reason for reason, count in ended.items() if count} == {"stop"}


@pytest.mark.parametrize("async_scheduling", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("fields", [{"stop": ["22"]}, {"stop_token_ids": [834]}], ids=["string", "token"])
def test_generate_leaves_no_step_in_flight(new_llm: NewLLM, async_scheduling: bool, fields: dict[str, object]) -> None:
    llm = new_llm(async_scheduling=async_scheduling)
    (output,) = llm.generate(COUNT, greedy(50, **fields), use_tqdm=False)
    assert output.outputs[0].finish_reason == "stop"
    assert not llm.llm_engine.has_unfinished_requests()
    assert llm.reset_prefix_cache() is True


def test_eos_that_the_user_lists_himself_is_a_stop_token(llm: LLM) -> None:
    eos = llm.get_tokenizer().eos_token_id
    assert eos is not None
    forced = greedy(5, stop_token_ids=[eos], logit_bias={eos: 100.0})
    (output,) = llm.generate(COUNT, forced, use_tqdm=False)[0].outputs
    assert (output.finish_reason, output.stop_reason) == ("stop", eos)


def test_a_complete_grammar_ends_before_min_tokens_could_break_it(llm: LLM) -> None:
    choice = StructuredOutputsParams(choice=["a", "b"])
    for seed in range(4):
        params = SamplingParams(seed=seed, max_tokens=8, min_tokens=6, structured_outputs=choice)
        (output,) = llm.generate(COUNT, params, use_tqdm=False)[0].outputs
        assert output.text in ("a", "b") and output.finish_reason == "stop"


def test_min_tokens_holds_where_the_grammar_could_go_on(llm: LLM) -> None:
    eos = llm.get_tokenizer().eos_token_id
    assert eos is not None
    many = StructuredOutputsParams(regex="[a-z ]*")
    params = SamplingParams(max_tokens=12, min_tokens=6, structured_outputs=many, logit_bias={eos: 100.0})
    (output,) = llm.generate(COUNT, params, use_tqdm=False)[0].outputs
    assert len(output.token_ids) == 7 and eos not in output.token_ids[:-1]


@pytest.mark.parametrize("kind", list(RequestOutputKind))
def test_a_tokenizer_that_fails_ends_one_request_alone(new_llm: NewLLM, kind: RequestOutputKind) -> None:
    """Tokenizers of other people's making raise on tokens that they do not know."""
    engine = new_llm().llm_engine
    assert engine.tokenizer is not None
    known = engine.tokenizer.token_text

    def token_text(token_id: int) -> str:
        if token_id == 700:
            raise TypeError("no such token")
        return known(token_id)

    engine.tokenizer.token_text = token_text  # type: ignore[method-assign]
    alone = engine.tokenizer.encode(COUNT)
    engine.add_request("bad", COUNT, greedy(12, logprobs=0, logit_bias={700: 100.0}, output_kind=kind))
    engine.add_request("good", alone, greedy(12, logprobs=0, output_kind=RequestOutputKind.DELTA))
    outputs = []
    while engine.has_unfinished_requests():
        outputs += engine.step()
    assert sum(len(o.outputs[0].token_ids) for o in outputs if o.request_id == "good") == 12
    bad = [output for output in outputs if output.request_id == "bad"]
    assert (bad[-1].finished, bad[-1].outputs[0].finish_reason) == (True, "error")
    assert bad[-1].outputs[0].token_ids == [] and not bad[-1].outputs[0].logprobs
    assert engine._core.stats().kv_cache_usage == 0.0 and engine.get_num_unfinished_requests() == 0


# -- what is reported ------------------------------------------------------------------------------------------------------------


def test_prompt_logprobs_are_whole_even_where_the_cache_may_be_read(llm: LLM) -> None:
    prompt = {"prompt_token_ids": [5] * 50}
    llm.generate(prompt, greedy(1), use_tqdm=False)
    params = greedy(1, prompt_logprobs=0, skip_reading_prefix_cache=False)
    (output,) = llm.generate(prompt, params, use_tqdm=False)
    assert output.prompt_logprobs is not None and len(output.prompt_logprobs) == 50
    assert output.num_cached_tokens == 0


def test_a_listed_token_has_no_made_up_rank(llm: LLM) -> None:
    (output,) = llm.generate(COUNT, greedy(1, logprob_token_ids=[5, 900]), use_tqdm=False)[0].outputs
    assert output.logprobs is not None and output.logprobs[0] is not None
    assert [(token_id, entry.rank) for token_id, entry in output.logprobs[0].items()] == [
        (output.token_ids[0], 1),
        (5, None),
        (900, None),
    ]


def test_decodes_do_not_pay_for_prompt_logprobs(new_llm: NewLLM) -> None:
    llm = new_llm(max_num_batched_tokens=16)
    engine = llm.llm_engine
    engine.add_request("scored", [5] * 40, greedy(4, prompt_logprobs=0))
    scorer = llm.collective_rpc(lambda worker: worker.runner.prompt_scorer)[0]
    waiting = []
    while engine.has_unfinished_requests():
        engine.step()
        waiting.append(len(scorer._wanted))
    assert waiting == [1, 1, 0, 0, 0, 0], "three chunks of prompt, then decodes"


class Picky(LogitsProcessor):
    """Refuses one word in `extra_args`."""

    @classmethod
    def validate_params(cls, sampling_params: SamplingParams) -> None:
        if (sampling_params.extra_args or {}).get("mood") == "bad":
            raise ValueError("no bad moods")

    def __init__(self, vllm_config: object, device: object, is_pin_memory: bool) -> None:
        pass

    def apply(self, logits):  # type: ignore[no-untyped-def]
        return logits

    def is_argmax_invariant(self) -> bool:
        return True

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        pass


def test_a_logits_processor_may_refuse_a_request(new_llm: NewLLM) -> None:
    llm = new_llm(logits_processors=[Picky])
    with pytest.raises(InvalidRequestError, match="Picky refuses the request: no bad moods"):
        llm.generate(COUNT, greedy(2, extra_args={"mood": "bad"}), use_tqdm=False)
    assert llm.generate(COUNT, greedy(2, extra_args={"mood": "good"}), use_tqdm=False)[0].finished


# -- beams -----------------------------------------------------------------------------------------------------------------------


def test_beam_search_refuses_a_prompt_as_long_as_the_context(llm: LLM) -> None:
    with pytest.raises(InvalidRequestError, match="must be at least 1, got 0"):
        llm.beam_search([[5] * 1024], BeamSearchParams(beam_width=2, max_tokens=3))


def test_beam_search_keeps_the_salt_of_its_prompt(new_llm: NewLLM) -> None:
    llm = new_llm()
    ids = [7, 8, 9] * 20
    llm.beam_search([{"prompt_token_ids": ids, "cache_salt": "mine"}], BeamSearchParams(beam_width=1, max_tokens=1))
    (other,) = llm.generate({"prompt_token_ids": ids}, greedy(1), use_tqdm=False)
    (own,) = llm.generate({"prompt_token_ids": ids, "cache_salt": "mine"}, greedy(1), use_tqdm=False)
    assert other.num_cached_tokens == 0 and own.num_cached_tokens == 48
