"""Owns what a server's options about parsers ask for before the model is loaded: users' files are run, names are looked up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vllm.entrypoints.openai.reasoning import ReasoningParserManager
from vllm.entrypoints.openai.tools import ToolParserManager
from vllm.errors import ConfigError

if TYPE_CHECKING:
    from vllm.entrypoints.openai.server_args import ServerArgs

__all__ = ["prepare_parsers"]


def prepare_parsers(args: ServerArgs) -> None:
    """Load the parsers that the options name. Raises ConfigError where one is not there, or its file cannot be loaded."""
    if args.enable_auto_tool_choice and args.tool_call_parser is None:
        raise ConfigError(
            "--enable-auto-tool-choice requires --tool-call-parser: without one no call would be found in the text.",
            remedy=f"add --tool-call-parser and the model's format: {', '.join(ToolParserManager.names())}",
        )
    if args.tool_parser_plugin is not None:
        ToolParserManager.load_file(args.tool_parser_plugin)
    if args.reasoning_parser_plugin is not None:
        ReasoningParserManager.load_file(args.reasoning_parser_plugin)
    if args.tool_call_parser is not None:
        ToolParserManager.get(args.tool_call_parser)
    if args.reasoning_parser is not None:
        ReasoningParserManager.get(args.reasoning_parser)
