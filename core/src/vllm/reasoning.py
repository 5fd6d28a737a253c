"""Owns the import path under which vLLM's users find reasoning parsers; the room itself is `vllm.entrypoints.openai.reasoning`."""

from __future__ import annotations

from vllm.entrypoints.openai.parsers_interface import (
    ContentDelta,
    ParserContext,
    ReasoningDelta,
    ReasoningParser,
    ReasoningStream,
)
from vllm.entrypoints.openai.reasoning import ReasoningParserManager, register_reasoning_parser

__all__ = [
    "ContentDelta",
    "ParserContext",
    "ReasoningDelta",
    "ReasoningParser",
    "ReasoningParserManager",
    "ReasoningStream",
    "register_reasoning_parser",
]
