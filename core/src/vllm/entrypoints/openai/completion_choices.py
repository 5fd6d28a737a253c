"""Owns how the engine's outputs become the choices of a completion: the echo of the prompt, log-probabilities, ids. Whole or in pieces."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import UNSET

from vllm.entrypoints.openai.logprobs_format import CompletionLogprobsWriter, prompt_logprobs
from vllm.entrypoints.openai.protocol.answers import CompletionChoice, CompletionLogprobs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vllm.entrypoints.openai.protocol.completions import CompletionRequest
    from vllm.outputs import CompletionOutput, RequestOutput
    from vllm.outputs import PromptLogprobs as PromptPositions
    from vllm.text.tokenizer import Tokenizer

__all__ = ["ChoicesWriter", "shows_prompt_only"]


def shows_prompt_only(body: CompletionRequest) -> bool:
    """With `echo`, `max_tokens` 0 asks for the prompt alone, with its log-probabilities. The engine generates a token all the same."""
    return bool(body.echo) and body.max_tokens == 0


class ChoicesWriter:
    """Writes the choices of one prompt. Told once of the whole output, or of each piece of it."""

    def __init__(self, body: CompletionRequest, prompt: int, tokenizer: Tokenizer, *, as_ids: bool) -> None:
        """`prompt`: its number in the request. `as_ids`: tokens are shown as `token_id:N`."""
        self._body = body
        self._first_index = prompt * (body.n or 1)
        self._tokenizer = tokenizer
        self._as_ids = as_ids
        self._logprobs: dict[int, CompletionLogprobsWriter] = {}
        """Of the outputs that have begun."""
        self._prompt_positions: PromptPositions | None = None
        self._is_plain = body.logprobs is None and not body.echo and not body.return_token_ids

    def choices(self, output: RequestOutput) -> list[CompletionChoice]:
        """What this output adds."""
        if output.prompt_logprobs is not None:
            self._prompt_positions = output.prompt_logprobs
        return [self._plain(each) if self._is_plain else self._full(each, output) for each in output.outputs]

    def whole_choices(self, output: RequestOutput) -> list[CompletionChoice]:
        """The same of a whole output: what was not asked for is null, and vLLM's `prompt_logprobs` come with it."""
        choices = self.choices(output)
        wanted, positions = self._body.prompt_logprobs, self._prompt_positions
        written = prompt_logprobs(positions) if wanted is not None and positions is not None else None
        for choice in choices:
            choice.prompt_logprobs = written
            choice.token_ids = None if choice.token_ids is UNSET else choice.token_ids
            choice.prompt_token_ids = None if choice.prompt_token_ids is UNSET else choice.prompt_token_ids
        return choices

    def _plain(self, each: CompletionOutput) -> CompletionChoice:
        index = self._first_index + each.index
        return CompletionChoice(index, each.text, None, each.finish_reason, each.stop_reason)

    def _full(self, each: CompletionOutput, output: RequestOutput) -> CompletionChoice:
        is_first = each.index not in self._logprobs
        writer = self._logprobs.setdefault(each.index, CompletionLogprobsWriter(self._tokenizer, as_ids=self._as_ids))
        hides_output = shows_prompt_only(self._body)
        choice = self._plain(each)
        choice.text = "" if hides_output else each.text
        token_ids: Sequence[int] = [] if hides_output else each.token_ids
        positions = [] if hides_output else list(each.logprobs or ())
        if is_first and self._body.echo:
            choice.text = self._prompt_text(output) + choice.text
        if self._body.logprobs is not None:
            choice.logprobs = self._echoed(writer, output) if is_first and self._body.echo else None
            choice.logprobs = _joined(choice.logprobs, writer.write(token_ids, positions))
        if self._body.return_token_ids:
            choice.token_ids = token_ids
            choice.prompt_token_ids = (output.prompt_token_ids or []) if is_first else UNSET
        return choice

    def _echoed(self, writer: CompletionLogprobsWriter, output: RequestOutput) -> CompletionLogprobs:
        assert self._prompt_positions is not None, "`echo` with `logprobs` asks the engine for the prompt's"
        return writer.write(output.prompt_token_ids or [], self._prompt_positions)

    def _prompt_text(self, output: RequestOutput) -> str:
        if output.prompt is not None:
            return output.prompt
        return self._tokenizer.decode(output.prompt_token_ids or [], skip_special_tokens=True)


def _joined(a: CompletionLogprobs | None, b: CompletionLogprobs) -> CompletionLogprobs:
    if a is None:
        return b
    return CompletionLogprobs(
        a.text_offset + b.text_offset,
        a.token_logprobs + b.token_logprobs,
        a.tokens + b.tokens,
        a.top_logprobs + b.top_logprobs,
    )
