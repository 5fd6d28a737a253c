"""Owns how the engine's outputs become a chat's messages: whole, or as the deltas of a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import UNSET

from vllm.entrypoints.openai.logprobs_format import chat_logprobs
from vllm.entrypoints.openai.output_stream import OutputStream, parse_output
from vllm.entrypoints.openai.parsers_interface import ContentDelta, ReasoningDelta, ToolCallDelta
from vllm.entrypoints.openai.protocol import answers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vllm.entrypoints.openai.chat_tools import OutputReaders, ToolPlan
    from vllm.entrypoints.openai.parsers_interface import Delta
    from vllm.entrypoints.openai.protocol.chat import ChatRequest
    from vllm.outputs import CompletionOutput
    from vllm.text.tokenizer import Tokenizer

__all__ = ["ChatWriter"]


class ChatWriter:
    """Writes the choices of one request."""

    def __init__(
        self,
        body: ChatRequest,
        plan: ToolPlan,
        readers: OutputReaders,
        tokenizer: Tokenizer,
        *,
        role: str,
        as_ids: bool,
    ) -> None:
        """`role`: of the message that is written. `as_ids`: log-probabilities show tokens as `token_id:N`."""
        self.role = role
        self._body, self._plan, self._readers, self._tokenizer = body, plan, readers, tokenizer
        self._as_ids = as_ids
        self._echoed = _last_content(body, role) if body.echo else ""
        self._streams: dict[int, OutputStream] = {}
        """By index of the output, where parsers read."""

    def choice(self, output: CompletionOutput) -> answers.ChatChoice:
        """The whole of one output."""
        parsed = parse_output(
            output.text,
            output.token_ids,
            reasoning=self._readers.reasoning,
            tools=self._readers.tools,
            parallel_calls=self._plan.parallel_calls,
        )
        calls = [answers.ToolCall(call.id, answers.FunctionCall(call.name, call.arguments)) for call in parsed.calls]
        content = self._echoed + parsed.content
        message = answers.ChatMessage(
            role=self.role,
            content=content or (None if calls or parsed.reasoning else ""),
            tool_calls=calls,
            reasoning=(parsed.reasoning if self._body.include_reasoning else None) or None,
        )
        return answers.ChatChoice(
            output.index,
            message,
            self._logprobs(output),
            self._finish_reason(output, calls=len(calls)),
            output.stop_reason,
            output.token_ids if self._body.return_token_ids else None,
        )

    def first_deltas(self) -> list[answers.ChatChunkChoice]:
        """The beginning of every output: who speaks, and what was said before."""
        delta = answers.ChatDelta(role=self.role, content=self._echoed)
        return [answers.ChatChunkChoice(index, delta) for index in range(self._body.n or 1)]

    def delta(self, output: CompletionOutput) -> answers.ChatChunkChoice | None:
        """What is new of one output; None where there is nothing to tell yet."""
        if self._readers.read_nothing:
            delta, calls = answers.ChatDelta(content=output.text or None), 0
        else:
            delta, calls = self._read(output)
        choice = answers.ChatChunkChoice(
            output.index,
            delta,
            self._logprobs(output),
            self._finish_reason(output, calls=calls),
            UNSET if output.finish_reason is None else output.stop_reason,
            output.token_ids if self._body.return_token_ids else UNSET,
        )
        says_something = delta.content or delta.reasoning or delta.tool_calls or choice.finish_reason
        return choice if says_something or choice.logprobs or self._body.return_token_ids else None

    def _read(self, output: CompletionOutput) -> tuple[answers.ChatDelta, int]:
        """What the parsers make of it, and how many calls there are so far."""
        stream = self._streams.get(output.index)
        if stream is None:
            stream = self._streams[output.index] = OutputStream(
                self._readers.reasoning, self._readers.tools, parallel_calls=self._plan.parallel_calls
            )
        deltas = stream.feed(output.text, output.token_ids)
        if output.finish_reason is not None:
            deltas = [*deltas, *stream.finish()]
        return _joined(deltas, shows_reasoning=bool(self._body.include_reasoning)), stream.calls

    def _finish_reason(self, output: CompletionOutput, *, calls: int) -> str | None:
        """A named function ends with "stop", as with OpenAI: the client knows that there is a call."""
        if calls and output.finish_reason == "stop" and not self._plan.is_named:
            return "tool_calls"
        return output.finish_reason

    def _logprobs(self, output: CompletionOutput) -> answers.ChatLogprobs | None:
        if not self._body.logprobs or output.logprobs is None:
            return None
        return chat_logprobs(
            output.token_ids,
            output.logprobs,
            top=self._body.top_logprobs or 0,
            as_ids=self._as_ids,
            tokenizer=self._tokenizer,
        )


def _joined(deltas: Sequence[Delta], *, shows_reasoning: bool) -> answers.ChatDelta:
    """All that is new in one delta."""
    content = "".join([delta.text for delta in deltas if isinstance(delta, ContentDelta)])
    reasoning = "".join([delta.text for delta in deltas if isinstance(delta, ReasoningDelta)])
    calls: list[answers.ToolCallDelta] = []
    for delta in deltas:
        if isinstance(delta, ToolCallDelta):
            _add_call(calls, delta)
    return answers.ChatDelta(
        content=content or None,
        reasoning=(reasoning if shows_reasoning else None) or None,
        tool_calls=calls or None,
    )


def _add_call(calls: list[answers.ToolCallDelta], delta: ToolCallDelta) -> None:
    """Arguments of the same call go on in the same delta."""
    if delta.name is None and calls and calls[-1].index == delta.index:
        function = calls[-1].function
        function.arguments = (function.arguments or "") + delta.arguments
        return
    function = answers.FunctionCallDelta(delta.name, delta.arguments)
    if delta.name is None:
        calls.append(answers.ToolCallDelta(delta.index, function))
    else:
        calls.append(answers.ToolCallDelta(delta.index, function, delta.id or "", "function"))


def _last_content(body: ChatRequest, role: str) -> str:
    """What `echo` puts in front: the last message, if the same role said it."""
    last = body.messages[-1] if body.messages else {}
    content = last.get("content")
    return content if last.get("role") == role and isinstance(content, str) else ""
