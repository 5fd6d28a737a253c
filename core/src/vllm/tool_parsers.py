"""Owns the import path under which vLLM's users find tool-call parsers; the room itself is `vllm.entrypoints.openai.tools`."""

from __future__ import annotations

from vllm.entrypoints.openai.parsers_interface import (
    ContentDelta,
    FunctionTool,
    ParserContext,
    ToolCallDelta,
    ToolParser,
    ToolStream,
)
from vllm.entrypoints.openai.tools import ToolParserManager, register_tool_parser

__all__ = [
    "ContentDelta",
    "FunctionTool",
    "ParserContext",
    "ToolCallDelta",
    "ToolParser",
    "ToolParserManager",
    "ToolStream",
    "register_tool_parser",
]
