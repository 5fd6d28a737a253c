"""Reasoning parsers: what each format means, any cut says the same, and both kinds of parser behind each other."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vllm.entrypoints.openai.output_stream import OutputStream, parse_output
from vllm.entrypoints.openai.parsers_interface import (
    ContentDelta,
    Delta,
    ParserContext,
    ReasoningDelta,
    ReasoningParser,
    ToolCallDelta,
)
from vllm.entrypoints.openai.reasoning import ReasoningParserManager
from vllm.entrypoints.openai.tools import ToolParserManager
from vllm.sampling_params import SamplingParams

OFF = {"enable_thinking": False}
CALL = '<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>'


def parser(name: str, prompt: str | None = None, **settings_: Any) -> ReasoningParser:
    return ReasoningParserManager.get(name)(ParserContext(chat_template_kwargs=settings_, prompt_text=prompt))


def cut(text: str, places: Iterable[int]) -> list[str]:
    ends = [0, *sorted({place % (len(text) + 1) for place in places}), len(text)]
    return [text[start:end] for start, end in pairwise(ends)]


def streamed(reader: ReasoningParser, pieces: Iterable[str]) -> tuple[str, str]:
    stream = reader.stream()
    deltas = [delta for piece in pieces for delta in stream.feed(piece)] + stream.finish()
    assert all(delta.text for delta in deltas)
    reasoning = "".join(delta.text for delta in deltas if isinstance(delta, ReasoningDelta))
    return reasoning, "".join(delta.text for delta in deltas if isinstance(delta, ContentDelta))


CASES: list[tuple[str, dict[str, Any], str | None, str, str, str]] = [
    ("deepseek_r1", {}, None, "<think>a < b</think>\n\nYes", "a < b", "\n\nYes"),
    ("deepseek_r1", {}, None, "no start tag</think>Yes", "no start tag", "Yes"),
    ("deepseek_r1", {}, None, "\n<think>a</think>b</think>c", "a", "b</think>c"),
    ("deepseek_r1", {}, None, "cut off in it </thi", "cut off in it </thi", ""),
    ("deepseek_r1", {}, "<|Assistant|><think>\n", "a</think>b", "a", "b"),
    ("deepseek_r1", {}, "<think>\n\n</think>\n\n", "a</think>b", "", "a</think>b"),
    ("qwen3", {}, None, "<think>\nü😀\n</think>\n\nYes", "\nü😀\n", "\n\nYes"),
    ("qwen3", {}, None, "a</think>b", "a", "b"),
    ("qwen3", OFF, None, "Yes <think> no", "", "Yes <think> no"),
    ("qwen3", {"enable_thinking": True}, "<think>\n\n</think>\n\n", "Yes", "", "Yes"),
    ("qwen3", {}, None, f"<think>a{CALL}", "a", CALL),
    ("deepseek_v3", {}, None, "Yes</think>", "", "Yes</think>"),
    ("deepseek_v3", {"thinking": True}, None, "a</think>b", "a", "b"),
    ("granite", {}, None, "Here's my thought process: a\nHere is my response: b", " a\n", " b"),
    ("granite", {}, None, "Here is my thorough answer", "", "Here is my thorough answer"),
    *((name, {}, None, "", "", "") for name in ReasoningParserManager.names()),
]
"""Parser, template settings, prompt, text, reasoning, content."""


@pytest.mark.parametrize(("name", "kwargs", "prompt", "text", "reasoning", "content"), CASES)
def test_each_format_is_read_whole_and_by_character(
    name: str, kwargs: dict[str, Any], prompt: str | None, text: str, reasoning: str, content: str
) -> None:
    reader = parser(name, prompt, **kwargs)
    parsed = reader.parse(text)
    assert (parsed.reasoning, parsed.content) == (reasoning, content)
    assert streamed(reader, text) == (reasoning, content)


def naive_r1(text: str) -> tuple[str, str]:
    """The twin: `str.partition` of the whole text."""
    stripped = text.lstrip()
    reasoning, _, content = (stripped.removeprefix("<think>") if stripped.startswith("<think>") else text).partition(
        "</think>"
    )
    return reasoning, content


@settings(max_examples=100, deadline=None)
@given(
    bits=st.lists(st.sampled_from(["<think>", "</think>", "<", "think>", "</", " ", "\n", "a", "😀"]), max_size=10),
    places=st.lists(st.integers(0, 1000), max_size=6),
)
def test_any_cut_equals_the_naive_twin(bits: list[str], places: list[int]) -> None:
    text = "".join(bits)
    assert streamed(parser("deepseek_r1"), cut(text, places)) == naive_r1(text)


@pytest.mark.parametrize("name", ReasoningParserManager.names())
def test_text_is_told_at_once_but_never_half_a_tag(name: str) -> None:
    stream = parser(name, thinking=True).stream()
    stream.feed("Here is my thought process:" if name == "granite" else "<think>")
    end = "Here is my response:" if name == "granite" else "</think>"
    assert stream.feed("abc" + end[:5]) == [ReasoningDelta("abc")]
    assert stream.feed(end[5:] + "x") == [ContentDelta("x")]


def test_think_tags_that_the_detokeniser_would_hide_are_asked_for() -> None:
    hidden = ReasoningParserManager.get("qwen3")(ParserContext(special_tokens=frozenset({"</think>"})))
    shown = ReasoningParserManager.get("qwen3")(ParserContext(special_tokens=frozenset()))
    assert hidden.adjust(SamplingParams()).skip_special_tokens is False
    assert shown.adjust(SamplingParams()).skip_special_tokens is True


# ---- both parsers behind each other


@pytest.mark.parametrize("step", [1, 3, 1000])
def test_reasoning_content_and_calls_of_one_output(step: int) -> None:
    text = f"<think>Shall I? <tool_</think>\n\nI look.\n{CALL}\n{CALL}"
    reasoning, tools = parser("qwen3"), ToolParserManager.get("hermes")(ParserContext())
    stream = OutputStream(reasoning, tools)
    deltas: list[Delta] = [
        d for at in range(0, len(text), step) for d in stream.feed(text[at : at + step])
    ] + stream.finish()
    parsed = parse_output(text, reasoning=reasoning, tools=tools)
    assert (parsed.reasoning, parsed.content) == ("Shall I? <tool_", "\n\nI look.\n")
    assert [(call.name, call.arguments) for call in parsed.calls] == [("f", '{"a": 1}')] * 2
    assert "".join(d.text for d in deltas if isinstance(d, ReasoningDelta)) == parsed.reasoning
    assert "".join(d.text for d in deltas if isinstance(d, ContentDelta)) == parsed.content
    assert "".join(d.arguments for d in deltas if isinstance(d, ToolCallDelta)) == '{"a": 1}{"a": 1}'
    assert stream.calls == 2


def test_without_parallel_calls_only_the_first_is_given() -> None:
    tools = ToolParserManager.get("hermes")(ParserContext())
    stream = OutputStream(None, tools, parallel_calls=False)
    deltas = [*stream.feed(CALL + CALL), *stream.finish()]
    assert {delta.index for delta in deltas if isinstance(delta, ToolCallDelta)} == {0}
    assert len(parse_output(CALL + CALL, tools=tools, parallel_calls=False).calls) == 1


def test_without_parsers_all_is_content() -> None:
    stream = OutputStream(None, None)
    assert stream.feed("<think>") + stream.feed("") + stream.finish() == [ContentDelta("<think>")]
    assert parse_output("<think>").reasoning is None
