"""Owns beam search over an engine: each round asks for the most likely next tokens of every beam; the prefix cache keeps rounds cheap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vllm.errors import InvalidRequestError
from vllm.inputs import TokensPrompt, parse_prompt
from vllm.outputs import BeamSearchOutput, BeamSearchSequence
from vllm.sampling_params import SamplingParams

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vllm.entrypoints.llm import LLM
    from vllm.outputs import RequestOutput
    from vllm.sampling_params import BeamSearchParams

__all__ = ["beam_search"]


class _Search:
    """One prompt's beams."""

    def __init__(self, prompt_token_ids: list[int], params: BeamSearchParams, eos_token_ids: frozenset[int]) -> None:
        self.params = params
        self.prompt_tokens = len(prompt_token_ids)
        self.eos_token_ids = frozenset() if params.ignore_eos else eos_token_ids
        self.beams = [BeamSearchSequence(tokens=prompt_token_ids, logprobs=[])]
        self.ended: list[BeamSearchSequence] = []

    def advance(self, outputs: Sequence[RequestOutput]) -> None:
        """One token further: the best `beam_width` of all beams' continuations; those that take EOS are set aside."""
        candidates: list[BeamSearchSequence] = []
        for beam, output in zip(self.beams, outputs, strict=True):
            position = (output.outputs[0].logprobs or [{}])[0] or {}
            for token_id, entry in position.items():
                longer = BeamSearchSequence(
                    tokens=[*beam.tokens, token_id],
                    logprobs=[*beam.logprobs, position],
                    cum_logprob=beam.cum_logprob + entry.logprob,
                )
                (self._ended_by(longer, token_id) if token_id in self.eos_token_ids else candidates.append(longer))
        candidates.sort(key=lambda beam: beam.cum_logprob, reverse=True)
        self.beams = candidates[: self.params.beam_width]

    def best(self) -> list[BeamSearchSequence]:
        """The `beam_width` best of what ended and what ran out of tokens, by length-penalised score."""
        for beam in self.beams:
            beam.finish_reason = "length"
        every = [*self.ended, *self.beams]
        return sorted(every, key=self._score, reverse=True)[: self.params.beam_width]

    def _ended_by(self, beam: BeamSearchSequence, token_id: int) -> None:
        beam.finish_reason, beam.stop_reason = "stop", token_id
        self.ended.append(beam)

    def _score(self, beam: BeamSearchSequence) -> float:
        length = len(beam.tokens) - (1 if beam.finish_reason == "stop" else 0)
        return beam.cum_logprob / max(1, length) ** self.params.length_penalty


def beam_search(
    llm: LLM, prompts: Sequence[Any], params: BeamSearchParams, *, use_tqdm: bool = False
) -> list[BeamSearchOutput]:
    """See `LLM.beam_search`."""
    if params.structured_outputs is not None:
        raise InvalidRequestError(
            "Beam search does not take structured outputs.", parameter="structured_outputs", remedy="use generate"
        )
    eos = frozenset(llm.llm_engine.config.model_config.eos_token_ids)
    searches = [_Search(_token_ids(llm, prompt), params, eos) for prompt in prompts]
    step = SamplingParams(max_tokens=1, temperature=params.temperature, logprobs=2 * params.beam_width, ignore_eos=True)
    for _ in range(params.max_tokens):
        running = [search for search in searches if search.beams and _has_room(llm, search)]
        if not running:
            break
        _round(llm, running, step, use_tqdm)
    return [
        BeamSearchOutput(sequences=[_with_text(llm, search, beam) for beam in search.best()]) for search in searches
    ]


def _round(llm: LLM, searches: Sequence[_Search], step: SamplingParams, use_tqdm: bool) -> None:
    beams = [beam for search in searches for beam in search.beams]
    outputs = llm.generate([TokensPrompt(prompt_token_ids=beam.tokens) for beam in beams], step, use_tqdm=use_tqdm)
    start = 0
    for search in searches:
        count = len(search.beams)
        search.advance(outputs[start : start + count])
        start += count


def _has_room(llm: LLM, search: _Search) -> bool:
    return len(search.beams[0].tokens) < llm.llm_engine.config.model_config.max_model_len


def _token_ids(llm: LLM, prompt: Any) -> list[int]:
    parsed = parse_prompt(prompt)
    if parsed.token_ids is not None:
        return parsed.token_ids
    assert parsed.text is not None
    return llm.get_tokenizer().encode(parsed.text)


def _with_text(llm: LLM, search: _Search, beam: BeamSearchSequence) -> BeamSearchSequence:
    """The text of prompt and output together; EOS is shown only on request."""
    drops_eos = beam.finish_reason == "stop" and not search.params.include_stop_str_in_output
    shown = beam.tokens[:-1] if drops_eos else beam.tokens
    beam.text = llm.get_tokenizer().decode(shown, skip_special_tokens=search.params.skip_special_tokens)
    return beam
