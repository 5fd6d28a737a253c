"""Tool-call parsers: what each format means, and that a stream cut in any way says the same as the whole text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.tests.serving.tool_texts import CASES, MALFORMED, WEATHER, WRITERS, Call, calls, plain_text, strings
from vllm.entrypoints.openai.parsers_interface import (
    ContentDelta,
    ParserContext,
    ToolCallDelta,
    ToolParser,
)
from vllm.entrypoints.openai.tools import ToolParserManager
from vllm.entrypoints.openai.tools.hermes import HermesToolParser
from vllm.sampling_params import SamplingParams

Deltas = list[ContentDelta | ToolCallDelta]
CONTEXT = ParserContext(tools=(WEATHER,))


def parser(name: str) -> ToolParser:
    return ToolParserManager.get(name)(CONTEXT)


def streamed(name: str, pieces: Iterable[str]) -> Deltas:
    stream = parser(name).stream()
    return [delta for piece in pieces for delta in stream.feed(piece)] + stream.finish()


def joined(deltas: Deltas) -> tuple[str, list[tuple[str, str]]]:
    """Content and calls, with the rules of streams checked on the way: indices count up, id and name come once and first."""
    content = "".join(delta.text for delta in deltas if isinstance(delta, ContentDelta))
    said: list[tuple[str, str]] = []
    for delta in deltas:
        if isinstance(delta, ContentDelta):
            assert delta.text
            continue
        if delta.name is not None:
            assert delta.index == len(said) and delta.id
            said.append((delta.name, delta.arguments))
        else:
            assert delta.id is None and delta.index == len(said) - 1
            said[-1] = (said[-1][0], said[-1][1] + delta.arguments)
    return content, said


def parsed(name: str, text: str) -> tuple[str, list[tuple[str, str]]]:
    whole = parser(name).parse(text)
    return whole.content, [(call.name, call.arguments) for call in whole.calls]


def loaded(said: Sequence[tuple[str, str]]) -> list[Call]:
    return [(name, json.loads(arguments)) for name, arguments in said]


def cut(text: str, places: Iterable[int]) -> list[str]:
    ends = [0, *sorted({place % (len(text) + 1) for place in places}), len(text)]
    return [text[start:end] for start, end in pairwise(ends)]


# ---- what the formats mean


@pytest.mark.parametrize(("name", "text", "content", "expected"), CASES)
def test_each_format_is_read(name: str, text: str, content: str, expected: list[Call]) -> None:
    said, found = parsed(name, text)
    assert (said, loaded(found)) == (content, expected)


@pytest.mark.parametrize(("name", "text"), [case[:2] for case in CASES])
def test_character_by_character_says_the_same(name: str, text: str) -> None:
    assert joined(streamed(name, text)) == parsed(name, text)


@pytest.mark.parametrize(("name", "text"), MALFORMED)
def test_what_is_no_sound_call_is_content_and_whole(name: str, text: str) -> None:
    assert parsed(name, text) == (text, [])


@pytest.mark.parametrize(("name", "text"), [case for case in MALFORMED if len(case[1]) < 1000])
def test_a_stream_that_breaks_is_the_same_for_every_cut(name: str, text: str) -> None:
    once = joined(streamed(name, [text]))
    assert joined(streamed(name, text)) == once


def test_what_follows_a_broken_call_is_not_lost() -> None:
    content, said = joined(streamed("hermes", ['<tool_call>{"name": "f", "arguments": {"a": ]}}</tool_call> more']))
    assert (content, said) == (" more", [("f", '{"a": ]}}')])


def test_a_sound_call_beside_one_that_is_none() -> None:
    text = '<tool_call>{"name": "f", "arguments": {}}</tool_call>\n<tool_call>oops</tool_call>'
    assert parsed("hermes", text) == ("\n<tool_call>oops</tool_call>", [("f", "{}")])


# ---- when things are told


def test_arguments_are_told_as_they_arrive() -> None:
    stream = parser("hermes").stream()
    assert stream.feed('<tool_call>{"name": "f", ') == []
    head, first = stream.feed('"arguments": {"a": "lo')
    assert (head.name, first.arguments) == ("f", '{"a": "lo')
    assert [delta.arguments for delta in stream.feed("ng te")] == ["ng te"]
    assert [delta.arguments for delta in stream.feed('xt"}}')] == ['xt"}']


def test_text_values_of_xml_and_python_are_told_as_they_arrive() -> None:
    xml, python = parser("qwen3_coder").stream(), parser("pythonic").stream()
    xml.feed("<tool_call>\n<function=weather>\n<parameter=city>\n")
    python.feed("[weather(city='")
    assert [delta.arguments for delta in xml.feed('a "b')] == ['a \\"b']
    assert "".join(delta.arguments for delta in python.feed('a "b')) == '"a \\"b'


@pytest.mark.parametrize("name", ToolParserManager.names())
def test_plain_text_passes_at_once(name: str) -> None:
    stream = parser(name).stream()
    assert stream.feed("It is ") == [ContentDelta("It is ")]
    assert stream.feed("sunny.") == [ContentDelta("sunny.")]
    assert stream.finish() == []


def test_half_a_tag_waits_only_until_it_is_none() -> None:
    stream = parser("hermes").stream()
    assert stream.feed("a <tool") == [ContentDelta("a ")]
    assert stream.feed("box>") == [ContentDelta("<toolbox>")]


def test_a_json_answer_is_told_once_it_cannot_be_a_call() -> None:
    stream = parser("llama3_json").stream()
    assert stream.feed('{"nam') == []
    assert stream.feed('es": [') == [ContentDelta('{"names": [')]


# ---- any cut


@pytest.mark.parametrize("form", WRITERS)
@settings(max_examples=40, deadline=None)
@given(said=calls, before=plain_text, places=st.lists(st.integers(0, 10_000), max_size=8))
def test_calls_survive_writing_and_any_cut(form: str, said: list[Call], before: str, places: list[int]) -> None:
    name, write, may_follow_text = WRITERS[form]
    before = before if may_follow_text else ""
    text = before + write(said)
    content, found = joined(streamed(name, cut(text, places)))
    assert (content, loaded(found)) == ("" if before.isspace() else before, said)
    assert (content, found) == parsed(name, text)


@pytest.mark.parametrize("name", ToolParserManager.names())
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_no_text_makes_a_stream_depend_on_its_cut(name: str, data: st.DataObject) -> None:
    """Texts put together from what the formats are made of, mostly senseless."""
    bits = [
        "<tool_call>",
        "</tool_call>",
        '{"name": "f", ',
        '"arguments": {',
        '"a": 1',
        "}",
        "]",
        "[",
        "<function=f>",
        "<parameter=a>",
    ]
    bits += [
        "</parameter>",
        "</function>",
        "[TOOL_CALLS]",
        "[ARGS]",
        "f(",
        "a='x'",
        ")",
        ", ",
        "\\",
        '"',
        "<|python_tag|>",
        "\n",
        "x",
        "functools",
    ]
    text = "".join(data.draw(st.lists(st.sampled_from(bits) | strings, max_size=12)))
    places = data.draw(st.lists(st.integers(0, 10_000), max_size=6))
    once = joined(streamed(name, [text]))
    assert joined(streamed(name, cut(text, places))) == once
    assert joined(streamed(name, text)) == once


# ---- naive twins: whole texts, sound calls, a regular expression and `json`


def naive_hermes(text: str) -> tuple[str, list[Call]]:
    blocks = re.findall(r"<tool_call>\s*(\{.*?\})\s*</tool_call>", text, re.DOTALL)
    found = [json.loads(block) for block in blocks]
    return text.partition("<tool_call>")[0], [(call["name"], call["arguments"]) for call in found]


def naive_xml(text: str) -> tuple[str, list[Call]]:
    found = []
    for name, body in re.findall(r"<function=([^>]+)>(.*?)</function>", text, re.DOTALL):
        pairs = re.findall(r"<parameter=([^>]+)>\n?(.*?)\n?</parameter>", body, re.DOTALL)
        found.append((name, dict(pairs)))
    return text.partition("<tool_call>")[0], found


_words = st.text(alphabet="ab<>/{}\"'\\ \n😀", max_size=10)
_flat_calls = st.lists(
    st.tuples(st.sampled_from(["f", "g"]), st.dictionaries(st.sampled_from("abc"), _words, max_size=3)), min_size=1
)


@settings(max_examples=60, deadline=None)
@given(
    said=_flat_calls, before=st.sampled_from(["", "Let me see.\n"]), places=st.lists(st.integers(0, 10_000), max_size=6)
)
def test_hermes_equals_its_naive_twin(said: list[Call], before: str, places: list[int]) -> None:
    text = before + "\n".join(f"<tool_call>\n{json.dumps({'name': n, 'arguments': a})}\n</tool_call>" for n, a in said)
    content, found = joined(streamed("hermes", cut(text, places)))
    assert (content, loaded(found)) == naive_hermes(text)


@settings(max_examples=60, deadline=None)
@given(
    said=_flat_calls, before=st.sampled_from(["", "Let me see.\n"]), places=st.lists(st.integers(0, 10_000), max_size=6)
)
def test_xml_equals_its_naive_twin(said: list[Call], before: str, places: list[int]) -> None:
    text = before + "\n".join(map(_xml, said))
    content, found = joined(streamed("qwen3_coder", cut(text, places)))
    assert (content, loaded(found)) == naive_xml(text)


def _xml(call: tuple[str, dict[str, Any]]) -> str:
    parameters = "".join(f"<parameter={key}>\n{value}\n</parameter>\n" for key, value in call[1].items())
    return f"<tool_call>\n<function={call[0]}>\n{parameters}</function>\n</tool_call>"


# ---- around the text


def test_special_tokens_are_kept_only_where_they_hide_a_tag() -> None:
    params = SamplingParams()
    plain = HermesToolParser(ParserContext(special_tokens=frozenset({"<|im_end|>"})))
    hidden = HermesToolParser(ParserContext(special_tokens=frozenset({"<tool_call>"})))
    assert plain.adjust(params) is params
    assert hidden.adjust(params).skip_special_tokens is False
    assert params.skip_special_tokens is True


def test_mistral_ids_have_nine_letters_and_digits() -> None:
    (made,) = parser("mistral").parse('[TOOL_CALLS][{"name": "f", "arguments": {}}]').calls
    (given_id,) = parser("mistral").parse("[TOOL_CALLS]f[CALL_ID]abc123XYZ[ARGS]{}").calls
    assert re.fullmatch(r"[A-Za-z0-9]{9}", made.id)
    assert given_id.id == "abc123XYZ"


def test_a_long_output_is_read_in_time_that_grows_with_it() -> None:
    """Counted, not timed: each character is looked at a bounded number of times, so a long text in small pieces is no burden."""
    text = hermes_of("x" * 200_000)
    pieces = [text[start : start + 50] for start in range(0, len(text), 50)]
    content, found = joined(streamed("hermes", pieces))
    assert (content, loaded(found)) == ("", [("f", {"a": "x" * 200_000})])


def hermes_of(value: str) -> str:
    return f"<tool_call>{json.dumps({'name': 'f', 'arguments': {'a': value}})}</tool_call>"
