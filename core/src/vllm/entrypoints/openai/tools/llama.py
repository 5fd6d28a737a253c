"""Owns the format of Llama 3.1 and later: the whole answer is `{"name": …, "parameters": {…}}`, several parted by `;`.

`<|python_tag|>` may stand before it, also after some text. Format: the chat template of meta-llama/Llama-3.1-8B-Instruct. As no tag need
announce a call, any other JSON object is an answer and becomes content.
"""

from __future__ import annotations

from vllm.entrypoints.openai.parsers_interface import ToolParser
from vllm.entrypoints.openai.text_source import Program
from vllm.entrypoints.openai.tools.call_object import CallObject
from vllm.entrypoints.openai.tools.program import ToolProgram

__all__ = ["LlamaJsonToolParser"]

BEGIN = "<|python_tag|>"


class LlamaJsonToolParser(ToolParser):
    """`llama3_json` and `llama4_json`."""

    @property
    def needs_special_tokens(self) -> bool:
        return self.context.hides((BEGIN,))

    def stream(self) -> ToolProgram:
        return _LlamaProgram(self)


class _LlamaProgram(ToolProgram):
    def read(self) -> Program[None]:
        yield from self._calls()
        while tag := (yield from self.source.copy_until((BEGIN,), self.content)):
            if not (yield from self._calls()):
                self.content(tag)

    def _calls(self) -> Program[int]:
        """Calls, as many as stand here. What follows the last is left as it is."""
        count = 0
        while True:
            self.source.pin()
            yield from self.source.skip_blank()
            if count:
                yield from self.source.take_any(";", ",")
                yield from self.source.skip_blank()
            call = CallObject(self, picky=True)
            if not (yield from call.read()):
                self.source.rewind()
                return count
            yield from call.close()
            count += 1
