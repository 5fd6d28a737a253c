"""Owns reasoning between `<think>` and `</think>`: DeepSeek R1 and V3.1, Qwen 3, and their kin.

Formats: the chat templates of deepseek-ai/DeepSeek-R1, deepseek-ai/DeepSeek-V3.1 and Qwen/Qwen3. Newer templates put `<think>` into the
prompt, so that the output begins within the reasoning; older models write it themselves. Both are read.
"""

from __future__ import annotations

from typing import ClassVar

from vllm.entrypoints.openai.parsers_interface import ReasoningParser
from vllm.entrypoints.openai.reasoning.program import ReasoningProgram
from vllm.entrypoints.openai.text_source import Program

__all__ = ["DeepSeekR1Parser", "DeepSeekV3Parser", "Qwen3Parser"]

BEGIN, END = "<think>", "</think>"
TOOL_CALL = "<tool_call>"


class _ThinkTagsParser(ReasoningParser):
    ended_by: ClassVar[tuple[str, ...]] = ()
    """Tags that end the reasoning too, and belong to what follows."""

    @property
    def needs_special_tokens(self) -> bool:
        return self.context.hides((BEGIN, END))

    def stream(self) -> ReasoningProgram:
        return _ThinkTagsProgram(thinks=self._thinks(), ended_by=self.ended_by)

    def _thinks(self) -> bool:
        """Whether the output begins with reasoning: the prompt's end tells it, else the request's settings."""
        prompt = (self.context.prompt_text or "").rstrip()
        return not prompt.endswith(END) and (prompt.endswith(BEGIN) or self._asked_to_think())

    def _asked_to_think(self) -> bool:
        return True


class DeepSeekR1Parser(_ThinkTagsParser):
    """`deepseek_r1`: always reasons. Without an end tag everything is reasoning: the output was cut off in it."""


class DeepSeekV3Parser(_ThinkTagsParser):
    """`deepseek_v3`: reasons where `chat_template_kwargs` has `thinking` (or `enable_thinking`) true."""

    def _asked_to_think(self) -> bool:
        settings = self.context.chat_template_kwargs
        return bool(settings.get("thinking") or settings.get("enable_thinking"))


class Qwen3Parser(_ThinkTagsParser):
    """`qwen3`: reasons unless `chat_template_kwargs` has `enable_thinking` false. A tool call ends the reasoning too."""

    ended_by = (TOOL_CALL,)

    def _asked_to_think(self) -> bool:
        return self.context.chat_template_kwargs.get("enable_thinking", True) is not False


class _ThinkTagsProgram(ReasoningProgram):
    def __init__(self, *, thinks: bool, ended_by: tuple[str, ...]) -> None:
        super().__init__()
        self._thinks, self._ended_by = thinks, ended_by

    def read(self) -> Program[None]:
        if self._thinks:
            yield from self._begin()
            tag = yield from self.source.copy_until((END, *self._ended_by), self.reasoning)
            if tag in self._ended_by:
                self.content(tag)
        yield from self.source.copy_rest(self.content)

    def _begin(self) -> Program[None]:
        """Pass the begin tag, which may be missing, and white space before it."""
        self.source.pin()
        yield from self.source.skip_blank()
        if (yield from self.source.take(BEGIN)):
            self.source.commit()
        else:
            self.source.rewind()
