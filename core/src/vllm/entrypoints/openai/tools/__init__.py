"""Tool calls in a model's text: one parser per format, known by the names that vLLM's users know.

`register_tool_parser` (or `ToolParserManager.register_module`) adds one's own.
"""

from __future__ import annotations

from vllm.entrypoints.openai.parser_registry import ParserRegistry
from vllm.entrypoints.openai.parsers_interface import ToolParser

__all__ = ["ToolParser", "ToolParserManager", "register_tool_parser"]

_ROOM = "vllm.entrypoints.openai.tools"

ToolParserManager: ParserRegistry[ToolParser] = ParserRegistry(
    ToolParser,
    option="--tool-call-parser",
    built_in={},
)
"""The registry; an object here, with the methods that vLLM's class of this name has."""

register_tool_parser = ToolParserManager.register
