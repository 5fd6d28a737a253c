"""Forced tool calls: the schema lets through what the parsers read, and nothing else."""

from __future__ import annotations

import json
from types import NoneType
from typing import Any

import llguidance
import pytest

from vllm.entrypoints.openai.forced_calls import (
    NamedToolParser,
    RequiredToolsParser,
    choose_tool_parser,
    named_schema,
    required_schema,
)
from vllm.entrypoints.openai.output_stream import OutputStream
from vllm.entrypoints.openai.parsers_interface import (
    ContentDelta,
    FunctionTool,
    ParserContext,
    ToolCallDelta,
    ToolParser,
)
from vllm.entrypoints.openai.tools.hermes import HermesToolParser
from vllm.errors import InvalidRequestError
from vllm.sampling_params import SamplingParams

CITY = FunctionTool(
    name="city",
    parameters={
        "type": "object",
        "properties": {"place": {"$ref": "#/$defs/Place"}, "next": {"$ref": "#"}},
        "required": ["place"],
        "additionalProperties": False,
        "$defs": {"Place": {"type": "integer"}},
    },
)
NEWS = FunctionTool(
    name="news",
    parameters={
        "type": "object",
        "properties": {"place": {"$ref": "#/$defs/Place"}},
        "required": ["place"],
        "$defs": {"Place": {"type": "string"}},
    },
)
NOW = FunctionTool(name="now")


def permits(schema: dict[str, Any], text: str) -> bool:
    """Whether llguidance, which holds outputs to schemas, lets `text` through as a whole."""
    tokenizer = llguidance.LLTokenizer("byte")
    matcher = llguidance.LLMatcher(tokenizer, llguidance.LLMatcher.grammar_from_json_schema(json.dumps(schema)))
    assert not matcher.get_error()
    tokens = tokenizer.tokenize_str(text)
    return matcher.try_consume_tokens(tokens) == len(tokens) and matcher.is_accepting()


def read(parser: ToolParser, text: str, step: int) -> tuple[str, list[tuple[str, str]]]:
    stream = OutputStream(None, parser)
    deltas = [
        delta for at in range(0, len(text), step) for delta in stream.feed(text[at : at + step])
    ] + stream.finish()
    content = "".join(delta.text for delta in deltas if isinstance(delta, ContentDelta))
    said: list[tuple[str, str]] = []
    for delta in deltas:
        if isinstance(delta, ToolCallDelta):
            said += [(delta.name, "")] if delta.name is not None else []
            said[-1] = (said[-1][0], said[-1][1] + delta.arguments)
    return content, said


@pytest.mark.parametrize(
    ("text", "permitted"),
    [
        ('[{"name": "city", "parameters": {"place": 3}}]', True),
        ('[{"name": "city", "parameters": {"place": 3, "next": {"place": 4}}}]', True),
        ('[{"name": "news", "parameters": {"place": "x"}}, {"name": "now", "parameters": {}}]', True),
        ('[{"name": "city", "parameters": {"place": "x"}}]', False),
        ('[{"name": "news", "parameters": {"place": 3}}]', False),
        ('[{"name": "other", "parameters": {}}]', False),
        ('[{"name": "now"}]', False),
        ("[]", False),
    ],
)
def test_required_calls_are_held_to_their_own_tools_schema(text: str, permitted: bool) -> None:
    """Both tools have a `Place`, each another one, and one schema refers to its own root."""
    assert permits(required_schema([CITY, NEWS, NOW], parallel_calls=True), text) is permitted


def test_without_parallel_calls_there_is_one() -> None:
    schema = required_schema([NOW], parallel_calls=False)
    assert permits(schema, '[{"name": "now", "parameters": {}}]')
    assert not permits(schema, '[{"name": "now", "parameters": {}}, {"name": "now", "parameters": {}}]')


def test_a_named_function_is_held_to_its_schema() -> None:
    assert permits(named_schema(CITY), '{"place": 1, "next": {"place": 2}}')
    assert not permits(named_schema(CITY), '{"place": "x"}')
    assert permits(named_schema(NOW), "{}")


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_required_calls_are_read_back(step: int) -> None:
    text = ' [{"name": "news", "parameters": {"place": "]}, {"}}, {"name": "now", "parameters": {}}]\n'
    expected = [("news", '{"place": "]}, {"}'), ("now", "{}")]
    assert read(RequiredToolsParser(ParserContext(tools=(NEWS, NOW))), text, step) == ("", expected)


@pytest.mark.parametrize("step", [1, 7, 1000])
@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ("[", []),
        ('[{"name": "ne', []),
        ('[{"name": "news"', []),
        ('[{"name": "news", "parameters": {"pla', [("news", '{"pla')]),
        ('[{"name": "now", "parameters": {}}, {"na', [("now", "{}")]),
    ],
)
def test_required_calls_that_are_cut_off_leave_no_content(text: str, calls: list[tuple[str, str]], step: int) -> None:
    """Whole and in pieces alike: what has a name and arguments that begin is a call, the rest is nothing."""
    parser = RequiredToolsParser(ParserContext(tools=(NEWS, NOW)))
    assert read(parser, text, step) == ("", calls)
    parsed = parser.parse(text)
    assert (parsed.content, [(call.name, call.arguments) for call in parsed.calls]) == ("", calls)


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_a_named_call_is_read_back_as_it_arrives(step: int) -> None:
    text = '{"place": "ü😀 }"}'
    parser = NamedToolParser(ParserContext(tools=(NEWS,)), NEWS)
    assert read(parser, text, step) == ("", [("news", text)])
    assert [(call.name, call.arguments) for call in parser.parse(text).calls] == [("news", text)]


def test_a_named_call_that_is_cut_off_is_a_call_still() -> None:
    parser = NamedToolParser(ParserContext(tools=(NEWS,)), NEWS)
    assert [call.arguments for call in parser.parse('{"place": "x').calls] == ['{"place": "x']
    assert parser.parse(" ").calls == ()


def test_the_parser_sets_the_form_and_leaves_the_given_parameters_alone() -> None:
    params = SamplingParams()
    adjusted = RequiredToolsParser(ParserContext(tools=(NOW,))).adjust(params)
    assert adjusted.structured_outputs is not None and params.structured_outputs is None
    with pytest.raises(InvalidRequestError, match="exclude each other"):
        NamedToolParser(ParserContext(tools=(NOW,)), NOW).adjust(adjusted)


CONTEXT = ParserContext(tools=(NEWS, NOW))


@pytest.mark.parametrize(
    ("choice", "kind"),
    [
        (None, NoneType),
        ("none", NoneType),
        ("auto", HermesToolParser),
        ("required", RequiredToolsParser),
        ({"type": "function", "function": {"name": "now"}}, NamedToolParser),
        ({"type": "function", "name": "now"}, NamedToolParser),
    ],
)
def test_each_choice_has_its_parser(choice: Any, kind: type) -> None:
    assert type(choose_tool_parser(choice, HermesToolParser, CONTEXT)) is kind


@pytest.mark.parametrize(
    ("choice", "auto", "context", "words"),
    [
        ("required", HermesToolParser, ParserContext(), "`tools` must be set"),
        ("auto", None, CONTEXT, "requires --enable-auto-tool-choice"),
        ("required", None, CONTEXT, "requires --tool-call-parser"),
        ({"function": {"name": "nows"}}, HermesToolParser, CONTEXT, r"(?s)'nows'.*news, now.*Did you mean"),
        ({"function": 7}, HermesToolParser, CONTEXT, "none of the request's tools"),
    ],
)
def test_choices_that_cannot_be(choice: Any, auto: Any, context: ParserContext, words: str) -> None:
    with pytest.raises(InvalidRequestError, match=words) as caught:
        choose_tool_parser(choice, auto, context)
    assert caught.value.parameter == "tool_choice"


def test_required_calls_stream_their_arguments() -> None:
    stream = RequiredToolsParser(ParserContext(tools=(NEWS,))).stream()
    head, first = stream.feed('[{"name": "news", "parameters": {"pla')
    assert isinstance(head, ToolCallDelta) and isinstance(first, ToolCallDelta)
    assert (head.name, first.arguments) == ("news", '{"pla')
