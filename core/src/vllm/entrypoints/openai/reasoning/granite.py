"""Owns the reasoning of Granite 3.2: sentences instead of tags ("Here is my thought process:", "Here is my response:").

Format: the chat template of ibm-granite/granite-3.2-8b-instruct with `thinking=True`. Without the first sentence there is no reasoning.
"""

from __future__ import annotations

from vllm.entrypoints.openai.parsers_interface import ReasoningParser
from vllm.entrypoints.openai.reasoning.program import ReasoningProgram
from vllm.entrypoints.openai.text_source import Program

__all__ = ["GraniteParser"]

BEGIN = ("Here is my thought process:", "Here's my thought process:")
END = ("Here is my response:", "Here's my response:")


class GraniteParser(ReasoningParser):
    """`granite`."""

    def stream(self) -> ReasoningProgram:
        return _GraniteProgram()


class _GraniteProgram(ReasoningProgram):
    def read(self) -> Program[None]:
        self.source.pin()
        yield from self.source.skip_blank()
        if (yield from self.source.take_any(*BEGIN)):
            self.source.commit()
            yield from self.source.copy_until(END, self.reasoning)
        else:
            self.source.rewind()
        yield from self.source.copy_rest(self.content)
