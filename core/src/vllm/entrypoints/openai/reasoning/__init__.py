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
    built_in={
        "deepseek_r1": f"{_ROOM}.think_tags:DeepSeekR1Parser",
        "deepseek_v3": f"{_ROOM}.think_tags:DeepSeekV3Parser",
        "granite": f"{_ROOM}.granite:GraniteParser",
        "qwen3": f"{_ROOM}.think_tags:Qwen3Parser",
    },
)
"""The registry; an object here, with the methods that vLLM's class of this name has."""

register_reasoning_parser = ReasoningParserManager.register
