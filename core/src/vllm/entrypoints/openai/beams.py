"""Owns beam search over HTTP (`use_beam_search`, vLLM's own field): each round asks the engine for the next token of every beam."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vllm.entrypoints.beam_search import Search
from vllm.entrypoints.openai.generation import Generation
from vllm.entrypoints.openai.prompts import encoded
from vllm.errors import InvalidRequestError
from vllm.inputs import TokensPrompt
from vllm.outputs import CompletionOutput, RequestOutput
from vllm.sampling_params import BeamSearchParams, RequestOutputKind, SamplingParams
from vllm.text.output_text import decode_output

if TYPE_CHECKING:
    from vllm.entrypoints.openai.protocol.common import GenerationRequest
    from vllm.outputs import BeamSearchSequence

__all__ = ["with_beams"]


def with_beams(generation: Generation, body: GenerationRequest) -> Generation:
    """The same generation; as a beam search, if the request wants one. Raises InvalidRequestError for what that cannot do."""
    if not body.use_beam_search:
        return generation
    params = generation.params
    for name in ("structured_outputs", "prompt_logprobs"):
        if getattr(params, name) is not None:
            field = generation.form_names.get(name, name)
            raise InvalidRequestError(f"`{field}` cannot be had with `use_beam_search`.", parameter=field)
    beams = BeamSearchParams(
        beam_width=1 if body.n is None else body.n,
        max_tokens=params.max_tokens or generation.engine.model_config.max_model_len,
        ignore_eos=params.ignore_eos,
        temperature=params.temperature,
        length_penalty=1.0 if body.length_penalty is None else body.length_penalty,
        include_stop_str_in_output=params.include_stop_str_in_output,
    )
    return _BeamGeneration(
        engine=generation.engine,
        request_id=generation.request_id,
        prompts=generation.prompts,
        params=params,
        priority=generation.priority,
        beams=beams,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _BeamGeneration(Generation):
    """Prompts that are searched one after the other, the beams of one together. `params` say how texts are shown."""

    beams: BeamSearchParams

    async def final(self) -> list[RequestOutput]:
        """Each prompt's beams, best first. What was begun is ended, however this ends."""
        return [await self._search(prompt) for prompt in self.prompts]

    async def _search(self, prompt: dict[str, Any]) -> RequestOutput:
        ids = prompt.get("prompt_token_ids")
        if ids is None:
            ids = await encoded(self.engine, prompt["prompt"], add_special_tokens=True)
        model = self.engine.model_config
        eos = frozenset() if self.beams.ignore_eos else frozenset(model.eos_token_ids)
        search = Search(TokensPrompt(prompt_token_ids=ids), self.beams, eos)
        for number in range(self.beams.max_tokens):
            # The first round takes every prompt: the engine refuses one that is too long.
            if not search.beams or (number and len(search.beams[0].tokens) >= model.max_model_len):
                break
            search.advance(await self._round(search, prompt))
        outputs = [self._output(index, beam, ids) for index, beam in enumerate(search.best())]
        return RequestOutput(self.request_id, prompt.get("prompt"), ids, None, outputs, finished=True)

    async def _round(self, search: Search, prompt: dict[str, Any]) -> list[RequestOutput]:
        step = SamplingParams(
            max_tokens=1,
            temperature=self.beams.temperature,
            logprobs=2 * self.beams.beam_width,
            ignore_eos=True,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        prompts = [{**prompt, "prompt_token_ids": beam.tokens} for beam in search.beams]
        return await Generation(
            engine=self.engine, request_id=self.request_id, prompts=prompts, params=step, priority=self.priority
        ).final()

    def _output(self, index: int, beam: BeamSearchSequence, prompt_ids: list[int]) -> CompletionOutput:
        """EOS is shown only on request."""
        token_ids, positions = beam.tokens[len(prompt_ids) :], beam.logprobs
        if beam.finish_reason == "stop" and not self.beams.include_stop_str_in_output:
            token_ids, positions = token_ids[:-1], positions[:-1]
        return CompletionOutput(
            index=index,
            text=decode_output(self.engine.get_tokenizer(), prompt_ids, token_ids, self.params),
            token_ids=token_ids,
            cumulative_logprob=beam.cum_logprob,
            logprobs=positions,
            finish_reason=beam.finish_reason,
            stop_reason=None,
        )
