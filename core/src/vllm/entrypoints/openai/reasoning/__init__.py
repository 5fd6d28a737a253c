"""Reasoning in a model's text: one parser per format, known by the names that vLLM's users know.

`register_reasoning_parser` (or `ReasoningParserManager.register_module`) adds one's own.
"""

from __future__ import annotations

from vllm.entrypoints.openai.parser_registry import ParserRegistry
from vllm.entrypoints.openai.parsers_interface import ReasoningParser

__all__ = ["ReasoningParser", "ReasoningParserManager", "register_reasoning_parser"]

_ROOM = "vllm.entrypoints.openai.reasoning"

ReasoningParserManager: ParserRegistry[ReasoningParser] = ParserRegistry(
    ReasoningParser,
    option="--reasoning-parser",
    built_in={},
)
"""The registry; an object here, with the methods that vLLM's class of this name has."""

register_reasoning_parser = ReasoningParserManager.register
