"""What `vllm serve` says about parsers before it loads a model."""

from __future__ import annotations

from pathlib import Path

import pytest

from vllm.entrypoints.openai.parser_options import prepare_parsers
from vllm.entrypoints.openai.reasoning import ReasoningParserManager
from vllm.entrypoints.openai.server_args import ServerArgs
from vllm.errors import ConfigError

PLUGIN = """
from vllm.entrypoints.openai.reasoning.think_tags import DeepSeekR1Parser
from vllm.reasoning import register_reasoning_parser

class Mine(DeepSeekR1Parser):
    pass


register_reasoning_parser("from_a_file", Mine)
"""


def test_choosing_freely_needs_a_parser() -> None:
    with pytest.raises(ConfigError, match=r"(?s)--enable-auto-tool-choice requires --tool-call-parser.*hermes"):
        prepare_parsers(ServerArgs(enable_auto_tool_choice=True))


def test_unknown_names_are_refused_with_near_ones() -> None:
    with pytest.raises(ConfigError, match=r"(?s)--tool-call-parser 'hermess'.*hermes\?"):
        prepare_parsers(ServerArgs(tool_call_parser="hermess"))
    with pytest.raises(ConfigError, match=r"(?s)--reasoning-parser 'qwen'.*qwen3\?"):
        prepare_parsers(ServerArgs(reasoning_parser="qwen"))


def test_a_parser_may_come_from_the_file_named_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(PLUGIN)
    prepare_parsers(ServerArgs(reasoning_parser_plugin=str(file), reasoning_parser="from_a_file"))
    assert "from_a_file" in ReasoningParserManager.names()


def test_nothing_asked_for_is_nothing_to_prepare() -> None:
    prepare_parsers(ServerArgs())
