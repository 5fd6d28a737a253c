"""Owns beam search over an engine: each round asks for the most likely next tokens of every beam; the prefix cache keeps rounds cheap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vllm.errors import InvalidRequestError
from vllm.inputs import TokensPrompt, parse_prompt
from vllm.outputs import BeamSearchOutput, BeamSearchSequence
from vllm.sampling_params import BeamSearchParams, SamplingParams

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vllm.engine.llm_engine import LLMEngine
    from vllm.inputs import PromptType
    from vllm.outputs import RequestOutput

    Generate = Callable[[list[PromptType], SamplingParams], list[RequestOutput]]

__all__ = ["Search", "beam_search"]


class Search:
    """One prompt's beams."""

    def __init__(self, prompt: TokensPrompt, params: BeamSearchParams, eos_token_ids: frozenset[int]) -> None:
        self.prompt = prompt
        self.params = params
        self.eos_token_ids = frozenset() if params.ignore_eos else eos_token_ids
        self.beams = [BeamSearchSequence(tokens=prompt["prompt_token_ids"], logprobs=[])]
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
    engine: LLMEngine, generate: Generate, prompts: Sequence[Any], params: BeamSearchParams
) -> list[BeamSearchOutput]:
    """See `LLM.beam_search`. `generate` runs prompts on the engine to their end, in order."""
    if not isinstance(params, BeamSearchParams):
        raise InvalidRequestError(
            f"LLM.beam_search was given a {type(params).__name__}; it wants a BeamSearchParams.",
            parameter="params",
            remedy="give BeamSearchParams(beam_width=…, max_tokens=…); LLM.generate takes a SamplingParams",
        )
    if params.structured_outputs is not None:
        raise InvalidRequestError(
            "Beam search does not take structured outputs.", parameter="structured_outputs", remedy="use generate"
        )
    eos = frozenset(engine.config.model_config.eos_token_ids)
    searches = [Search(_tokens_prompt(engine, prompt), params, eos) for prompt in prompts]
    step = SamplingParams(max_tokens=1, temperature=params.temperature, logprobs=2 * params.beam_width, ignore_eos=True)
    for round_index in range(params.max_tokens):
        # The first round takes every prompt: the engine refuses one that is too long.
        running = [search for search in searches if search.beams and (round_index == 0 or _has_room(engine, search))]
        if not running:
            break
        _round(generate, running, step)
    return [
        BeamSearchOutput(sequences=[_with_text(engine, search, beam) for beam in search.best()]) for search in searches
    ]


def _round(generate: Generate, searches: Sequence[Search], step: SamplingParams) -> None:
    prompts: list[PromptType] = [
        {**search.prompt, "prompt_token_ids": beam.tokens} for search in searches for beam in search.beams
    ]
    outputs = generate(prompts, step)
    start = 0
    for search in searches:
        count = len(search.beams)
        search.advance(outputs[start : start + count])
        start += count


def _has_room(engine: LLMEngine, search: Search) -> bool:
    return len(search.beams[0].tokens) < engine.config.model_config.max_model_len


def _tokens_prompt(engine: LLMEngine, prompt: Any) -> TokensPrompt:
    parsed = parse_prompt(prompt)
    token_ids = parsed.token_ids
    if token_ids is None:
        assert parsed.text is not None
        token_ids = engine.get_tokenizer().encode(parsed.text)
    if parsed.cache_salt is None:
        return TokensPrompt(prompt_token_ids=token_ids)
    return TokensPrompt(prompt_token_ids=token_ids, cache_salt=parsed.cache_salt)


def _with_text(engine: LLMEngine, search: Search, beam: BeamSearchSequence) -> BeamSearchSequence:
    """The text of prompt and output together; EOS is shown only on request."""
    drops_eos = beam.finish_reason == "stop" and not search.params.include_stop_str_in_output
    shown = beam.tokens[:-1] if drops_eos else beam.tokens
    beam.text = engine.get_tokenizer().decode(shown, skip_special_tokens=search.params.skip_special_tokens)
    return beam
