"""The registries of parsers: names, one's own parsers, files of them, and words for what goes wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vllm.entrypoints.openai.parser_registry import ParserRegistry
from vllm.entrypoints.openai.parsers_interface import ParserContext, ReasoningParser, ToolParser
from vllm.entrypoints.openai.reasoning import ReasoningParserManager
from vllm.entrypoints.openai.tools import ToolParserManager
from vllm.entrypoints.openai.tools.hermes import HermesToolParser
from vllm.errors import ConfigError

PLUGIN = '''
from vllm.tool_parsers import ToolParserManager
from vllm.entrypoints.openai.tools.hermes import HermesToolParser

@ToolParserManager.register_module(["shout", "yell"])
class ShoutParser(HermesToolParser):
    """As hermes."""
'''


PAGE = (Path(__file__).parents[3] / "docs" / "tool-calling.md").read_text()


@pytest.fixture
def registry() -> ParserRegistry[ToolParser]:
    return ParserRegistry(ToolParser, option="--tool-call-parser", built_in={})


@pytest.mark.parametrize("name", ToolParserManager.names())
def test_every_tool_parser_loads(name: str) -> None:
    assert ToolParserManager.get(name)(ParserContext()).parse("text").content == "text"


@pytest.mark.parametrize("name", ReasoningParserManager.names())
def test_every_reasoning_parser_loads(name: str) -> None:
    assert isinstance(ReasoningParserManager.get(name)(ParserContext()), ReasoningParser)


def test_names_that_users_of_vllm_know_are_there() -> None:
    known = {"hermes", "llama3_json", "mistral", "pythonic", "qwen3_coder", "qwen3_xml"}
    assert known <= set(ToolParserManager.list_registered())
    assert {"deepseek_r1", "qwen3"} <= set(ReasoningParserManager.list_registered())


def test_the_import_paths_that_users_of_vllm_know() -> None:
    import vllm.reasoning
    import vllm.tool_parsers

    assert vllm.tool_parsers.ToolParserManager is ToolParserManager
    assert vllm.reasoning.ReasoningParserManager is ReasoningParserManager


def test_an_unknown_name_is_answered_with_near_ones() -> None:
    with pytest.raises(ConfigError, match=r"(?s)'hermess' is not the name of a parser.*Did you mean: hermes"):
        ToolParserManager.get("hermess")


def test_registering_by_decorator_by_class_and_by_path(registry: ParserRegistry[ToolParser]) -> None:
    assert registry.register_module("one")(HermesToolParser) is HermesToolParser
    registry.register_module(module=HermesToolParser)
    registry.register_lazy_module("lazy", "vllm.entrypoints.openai.tools.hermes", "HermesToolParser")
    assert registry.names() == ("HermesToolParser", "lazy", "one")
    assert {registry.get(name) for name in registry.names()} == {HermesToolParser}


def test_what_is_no_parser_is_refused(registry: ParserRegistry[ToolParser]) -> None:
    with pytest.raises(ConfigError, match=r"dict is no ToolParser.*\n.*parsers_interface.ToolParser"):
        registry.register("wrong", dict)  # type: ignore[arg-type]


def test_a_taken_name_is_replaced_only_by_force(registry: ParserRegistry[ToolParser]) -> None:
    registry.register("one", "nowhere:Parser")
    with pytest.raises(ConfigError, match="'one' is registered already"):
        registry.register("one", HermesToolParser, force=False)
    registry.register("one", HermesToolParser)
    assert registry.get("one") is HermesToolParser


def test_a_path_that_leads_nowhere_says_so(registry: ParserRegistry[ToolParser]) -> None:
    registry.register_lazy_module("lost", "no_such_package.parsers", "Parser")
    with pytest.raises(ConfigError, match=r"--tool-call-parser lost names .* cannot be loaded"):
        registry.get("lost")


def test_a_users_file_registers_its_parsers(tmp_path: Path) -> None:
    file = tmp_path / "shout.py"
    file.write_text(PLUGIN)
    ToolParserManager.load_file(str(file))
    assert ToolParserManager.get("shout") is ToolParserManager.get("yell")
    assert ToolParserManager.get("shout").__name__ == "ShoutParser"


def test_a_users_file_that_raises_or_is_missing_says_so(tmp_path: Path) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("1 / 0")
    with pytest.raises(ConfigError, match="cannot be loaded: ZeroDivisionError"):
        ToolParserManager.load_file(str(broken))
    with pytest.raises(ConfigError, match=r"--tool-parser-plugin names .* which is no file"):
        ToolParserManager.load_file(str(tmp_path / "missing.py"))


# ---- the documentation


@pytest.mark.parametrize("manager", [ToolParserManager, ReasoningParserManager], ids=["tools", "reasoning"])
def test_the_page_tells_every_parser_that_is_built_in(
    manager: ParserRegistry[ToolParser] | ParserRegistry[ReasoningParser],
) -> None:
    ours = [name for name in manager.names() if manager.get(name).__module__.startswith("vllm.entrypoints.openai.")]
    rows = "".join(line.split("|")[1] for line in PAGE.splitlines() if line.startswith("| `"))
    assert [name for name in ours if f"`{name}`" not in rows] == []


def test_the_pages_own_parser_works_as_written(tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n# shout.py.*?\n(.*?)```", PAGE, re.DOTALL)
    file = tmp_path / "page.py"
    file.write_text(example)
    ToolParserManager.load_file(str(file))
    parsed = ToolParserManager.get("shout")(ParserContext()).parse('Hello\n!f {"a": 1}\n')
    assert parsed.content == "Hello\n"
    assert [(call.name, call.arguments) for call in parsed.calls] == [("f", '{"a": 1}')]
