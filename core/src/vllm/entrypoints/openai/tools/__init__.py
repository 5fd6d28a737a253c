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
    built_in={
        "granite": f"{_ROOM}.call_lists:GraniteToolParser",
        "hermes": f"{_ROOM}.hermes:HermesToolParser",
        "jamba": f"{_ROOM}.call_lists:JambaToolParser",
        "llama3_json": f"{_ROOM}.llama:LlamaJsonToolParser",
        "llama4_json": f"{_ROOM}.llama:LlamaJsonToolParser",
        "llama4_pythonic": f"{_ROOM}.pythonic:PythonicToolParser",
        "mistral": f"{_ROOM}.mistral:MistralToolParser",
        "phi4_mini_json": f"{_ROOM}.call_lists:Phi4MiniToolParser",
        "pythonic": f"{_ROOM}.pythonic:PythonicToolParser",
        "qwen3_coder": f"{_ROOM}.qwen_xml:QwenXmlToolParser",
        "qwen3_xml": f"{_ROOM}.qwen_xml:QwenXmlToolParser",
    },
)
"""The registry; an object here, with the methods that vLLM's class of this name has."""

register_tool_parser = ToolParserManager.register
