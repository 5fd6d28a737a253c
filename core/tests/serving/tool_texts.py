"""What models write in each format, with what it means: the cases of test_tool_parsers.py, and strategies that make more of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from hypothesis import strategies as st

from vllm.entrypoints.openai.parsers_interface import FunctionTool

Call = tuple[str, dict[str, Any]]

WEATHER = FunctionTool(
    name="weather",
    parameters={
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "days": {"type": "integer"},
            "exact": {"type": "boolean"},
            "limit": {"type": "number"},
            "tags": {"type": "array", "items": {"type": "string"}},
            "place": {"$ref": "#/$defs/Place"},
            "maybe": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
            "unit": {"enum": ["C", "F"]},
        },
        "$defs": {"Place": {"type": "object"}},
    },
)

CASES: list[tuple[str, str, str, list[Call]]] = [
    ("hermes", "Sunny.", "Sunny.", []),
    ("hermes", '<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>', "", [("f", {"a": 1})]),
    (
        "hermes",
        'I look.\n<tool_call>{"name": "f", "arguments": {"a": {"b": [1, "}"]}}}</tool_call>\n'
        '<tool_call>{"name": "g", "arguments": {}}</tool_call>',
        "I look.\n",
        [("f", {"a": {"b": [1, "}"]}}), ("g", {})],
    ),
    ("hermes", '<tool_call>{"arguments": {"a": 1}, "name": "f"}</tool_call>', "", [("f", {"a": 1})]),
    (
        "hermes",
        '<tool_call>{"name": "f", "arguments": {"a": "</tool_call>"}}</tool_call>',
        "",
        [("f", {"a": "</tool_call>"})],
    ),
    ("hermes", '<tool_call>{"name": "f", "arguments": "{\\"a\\": 1}"}</tool_call>', "", [("f", {"a": 1})]),
    ("hermes", '<tool_call>{"name": "f", "arguments": null}</tool_call>', "", [("f", {})]),
    ("hermes", '<tool_call>{"name": "now"}</tool_call>', "", [("now", {})]),
    ("hermes", '<tool_call>{"name": "f", "arguments": {"a": 1}}}</tool_call>', "", [("f", {"a": 1})]),
    ("hermes", '<tool_call>{"name": "f", "arguments": {"a": "x\ny"}}</tool_call>', "", [("f", {"a": "x\ny"})]),
    ("hermes", '<tool_call>{"name": "f", "arguments": {"a": 1}}', "", [("f", {"a": 1})]),
    ("hermes", '<tool_call>{"name": "f", "arguments": {"a": 1}', "", [("f", {"a": 1})]),
    ("hermes", '<tool_call>{"name": "f", "arguments": {}}</tool_call> Done.', " Done.", [("f", {})]),
    ("hermes", '\n\n<tool_call>{"name": "f", "arguments": {}}</tool_call> Done.', " Done.", [("f", {})]),
    ("hermes", '<tool_call>\n<tool_call>{"name": "f", "arguments": {}}</tool_call>', "<tool_call>\n", [("f", {})]),
    (
        "qwen3_xml",
        "<function=weather><parameter=limit>1e999</parameter></function>",
        "",
        [("weather", {"limit": "1e999"})],
    ),
    ("qwen3_xml", "<function=weather><parameter=days>4.0</parameter></function>", "", [("weather", {"days": 4})]),
    (
        "qwen3_xml",
        "<function=weather><parameter=tags>[1, {2}]</parameter></function>",
        "",
        [("weather", {"tags": "[1, {2}]"})],
    ),
    ("llama3_json", '{"name": "f", "parameters": {"a": "ü😀"}}', "", [("f", {"a": "ü😀"})]),
    ("llama3_json", '<|python_tag|>{"name": "f", "parameters": {}}', "", [("f", {})]),
    ("llama3_json", 'Well. <|python_tag|>{"name": "f", "parameters": {}}', "Well. ", [("f", {})]),
    (
        "llama3_json",
        '{"name": "f", "parameters": {}}; {"name": "g", "arguments": {"a": 1}}',
        "",
        [("f", {}), ("g", {"a": 1})],
    ),
    ("llama3_json", '{"type": "function", "name": "f", "parameters": {}}', "", [("f", {})]),
    ("llama3_json", '{"name": "Ada", "age": 36}', '{"name": "Ada", "age": 36}', []),
    ("llama3_json", '{"answer": {"name": "f", "parameters": {}}}', '{"answer": {"name": "f", "parameters": {}}}', []),
    ("llama3_json", "<|python_tag|>print(1)", "<|python_tag|>print(1)", []),
    (
        "mistral",
        '[TOOL_CALLS][{"name": "f", "arguments": {"a": "]"}}, {"name": "g", "arguments": {}}]',
        "",
        [("f", {"a": "]"}), ("g", {})],
    ),
    ("mistral", '[TOOL_CALLS] [{"name": "f", "arguments": {}, "id": "abcdefghi"}]', "", [("f", {})]),
    (
        "mistral",
        'So: [TOOL_CALLS]f[ARGS]{"a": 1}[TOOL_CALLS]g[CALL_ID]123456789[ARGS]{}',
        "So: ",
        [("f", {"a": 1}), ("g", {})],
    ),
    ("mistral", '[TOOL_CALLS]f{"a": 1}', "", [("f", {"a": 1})]),
    ("granite", '<|tool_call|>[{"name": "f", "arguments": {"a": 1}}]', "", [("f", {"a": 1})]),
    ("granite", '<tool_call>[{"name": "f", "arguments": {}}]', "", [("f", {})]),
    ("jamba", '<tool_calls>[\n{"name": "f", "arguments": {}}\n]</tool_calls>', "", [("f", {})]),
    ("phi4_mini_json", 'functools[{"name": "f", "arguments": {"a": 1}}]', "", [("f", {"a": 1})]),
    (
        "qwen3_coder",
        '<tool_call>\n<function=weather>\n<parameter=city>\nSan {"F"}\n<b>\n</parameter>\n<parameter=days>\n3\n</parameter>\n'
        "<parameter=exact>\nTrue\n</parameter>\n<parameter=limit>\n1.5\n</parameter>\n<parameter=tags>\n['a', \"b\"]\n</parameter>\n"
        '<parameter=place>\n{"x": {"y": 1}}\n</parameter>\n<parameter=maybe>\nnull\n</parameter>\n<parameter=unit>\nC\n</parameter>\n'
        "<parameter=unknown>\n7\n</parameter>\n</function>\n</tool_call>",
        "",
        [
            (
                "weather",
                {
                    "city": 'San {"F"}\n<b>',
                    "days": 3,
                    "exact": True,
                    "limit": 1.5,
                    "tags": ["a", "b"],
                    "place": {"x": {"y": 1}},
                    "maybe": None,
                    "unit": "C",
                    "unknown": "7",
                },
            )
        ],
    ),
    ("qwen3_coder", "Now.\n<function=g>\n</function>\n</tool_call>", "Now.\n", [("g", {})]),
    (
        "qwen3_xml",
        "<tool_call><function=weather><parameter=days>many</parameter></function></tool_call>",
        "",
        [("weather", {"days": "many"})],
    ),
    (
        "qwen3_xml",
        "<tool_call>\n<function=f>\n<parameter=a>\nx\n<parameter=b>\ny\n</function>\n</tool_call>\n<tool_call>\n<function=g>\n</function>\n</tool_call>",
        "",
        [("f", {"a": "x", "b": "y"}), ("g", {})],
    ),
    ("qwen3_xml", "<tool_call>no function</tool_call>", "<tool_call>no function</tool_call>", []),
    (
        "pythonic",
        "[weather(city='S\\'F\\u00fc\\n', days=3, tags=[\"a\", 'b'], place={'x': (1, None)}), g()]",
        "",
        [("weather", {"city": "S'Fü\n", "days": 3, "tags": ["a", "b"], "place": {"x": [1, None]}}), ("g", {})],
    ),
    (
        "pythonic",
        "[f(a=True, b=false, c=-1.5, d='''x'y''', e='')]",
        "",
        [("f", {"a": True, "b": False, "c": -1.5, "d": "x'y", "e": ""})],
    ),
    ("pythonic", "[1, 2] is a list", "[1, 2] is a list", []),
    ("pythonic", " [f(x)]", " [f(x)]", []),
    ("llama4_pythonic", "<|python_start|>[a.f(x=1)]<|python_end|>", "", [("a.f", {"x": 1})]),
]
"""Parser, text, content, calls."""

MALFORMED: list[tuple[str, str]] = [
    ("hermes", '<tool_call>{"name": "f", "arguments": {"a": tru}}</tool_call>'),
    ("hermes", '<tool_call>{"name": "f", "arguments": {"a": 1]}</tool_call> more'),
    ("hermes", '<tool_call>{"name": "f", "arguments": {"a": "cut'),
    ("hermes", "<tool_call>{'name': 'f', 'arguments': {}}</tool_call>"),
    ("hermes", '<tool_call>{"name": 7, "arguments": {}}</tool_call>'),
    ("hermes", '<tool_call>{"name": "f", "arguments": [1]}</tool_call>'),
    ("hermes", '<tool_call>{"name": "\\ud800", "arguments": {}}</tool_call>'),
    ("hermes", "<tool_call>"),
    ("hermes", "<tool_call>\n oops"),
    ("qwen3_coder", "<function=f>\nstray\n<parameter=a>\nx\n</parameter>\n</function>\n</tool_call>"),
    ("hermes", "text <tool_ca"),
    ("llama3_json", '{"name": "f", "parameters": {"a": 1'),
    ("llama3_json", '{"name": "f"}'),
    ("mistral", '[TOOL_CALLS][{"name": "f", "arguments": {"a"'),
    ("mistral", "[TOOL_CALLS] nothing"),
    ("qwen3_coder", "<tool_call>\n<function=f>\n<parameter=a>\nx"),
    ("qwen3_coder", "<tool_call>\n<function=f"),
    ("pythonic", "[f(a=1, b=oops(2))]"),
    ("pythonic", "[f(a='cut"),
    ("hermes", '<tool_call>{"name": "f", "arguments": {"a": ' + "[" * 20_000 + "}}</tool_call>"),
]
"""Texts that hold no sound call: all is content."""


# ---- strategies: calls, and the texts that say them

names = st.sampled_from(["f", "weather", "get_news", "a1"])
_tricky = st.sampled_from(
    ["</tool_call>", "<tool_call>", "}", '{"a"', "]", "\\", '"', "'", "\n", "😀", "<parameter=", "[TOOL_CALLS]", " "]
)
strings = st.lists(_tricky | st.text(max_size=4), max_size=4).map("".join)
_scalars = st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.floats(-1e6, 1e6) | strings
values = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(strings, inner, max_size=3), max_leaves=6
)
keys = st.sampled_from(["a", "b", "city", "long_key"])
calls = st.lists(st.tuples(names, st.dictionaries(keys, values, max_size=3)), min_size=1, max_size=3)
plain_text = st.text(alphabet="ab .\n😀", max_size=12)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def hermes_text(said: Iterable[Call]) -> str:
    return "\n".join(f"<tool_call>\n{_json({'name': n, 'arguments': a})}\n</tool_call>" for n, a in said)


def llama_text(said: Iterable[Call]) -> str:
    return "; ".join(_json({"name": n, "parameters": a}) for n, a in said)


def mistral_text(said: Iterable[Call]) -> str:
    return f"[TOOL_CALLS]{_json([{'name': n, 'arguments': a} for n, a in said])}"


def mistral_v11_text(said: Iterable[Call]) -> str:
    return "".join(f"[TOOL_CALLS]{n}[ARGS]{_json(a)}" for n, a in said)


def pythonic_text(said: Iterable[Call]) -> str:
    parts = (f"{n}({', '.join(f'{key}={value!r}' for key, value in a.items())})" for n, a in said)
    return f"[{', '.join(parts)}]"


WRITERS: dict[str, tuple[str, Callable[[Iterable[Call]], str], bool]] = {
    "hermes": ("hermes", hermes_text, True),
    "llama3_json": ("llama3_json", llama_text, False),
    "mistral": ("mistral", mistral_text, True),
    "mistral v11": ("mistral", mistral_v11_text, True),
    "pythonic": ("pythonic", pythonic_text, False),
}
"""Format: parser, writer, and whether text may stand before the calls."""
