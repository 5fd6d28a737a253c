"""Schemas, regexes and grammars made to hurt: refused with a sentence, and nobody else waits for them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from core.tests.serving.in_process import Served

HELLO = {"prompt": "Count: 1 2 3", "temperature": 0}
ENDLESS_SCHEMA = {"type": "integer", "multipleOf": 1_000_003}
"""Compiled into an automaton with as many states."""


def test_a_grammar_that_takes_too_long_is_refused_alone(inside: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_GRAMMAR_COMPILE_TIMEOUT", "0.5")
    hostile = HELLO | {"structured_outputs": {"json": ENDLESS_SCHEMA}}

    async def story() -> None:
        asked = [asyncio.create_task(inside.http.post("/v1/completions", json=hostile)) for _ in range(4)]
        for _ in range(3):
            answer = await inside.http.post("/v1/completions", json=HELLO | {"max_tokens": 3})
            assert answer.status_code == 200
        for answer in await asyncio.gather(*asked):
            error = answer.json()["error"]
            assert (answer.status_code, error["param"]) == (400, "structured_outputs.json")
            assert error["message"].endswith("cannot be compiled to a grammar: it takes longer than 0.5 s")
        good = HELLO | {"structured_outputs": {"choice": ["yes"]}}
        assert (await inside.http.post("/v1/completions", json=good)).json()["choices"][0]["text"] == "yes"
        assert inside.engine.num_unfinished_requests == 0

    inside.run(story())


DEEP = json.loads('{"items":' * 130 + "{}" + "}" * 130)


@pytest.mark.parametrize(
    ("constraint", "words"),
    [
        ({"json": DEEP}, "nests deeper than 128 levels"),
        ({"json": json.dumps(DEEP)}, "nests deeper than 128 levels"),
        ({"json": "[" * 100_000}, "nests deeper than 128 levels"),
        ({"json": {"enum": list(range(300_000))}}, "is larger than the 262,144 characters"),
        ({"json": {"description": "x" * 300_000}}, "is larger than the 262,144 characters"),
        ({"regex": "x" * 300_000}, "is larger than the 262,144 characters"),
        ({"choice": ["word"] * 60_000}, "is larger than the 262,144 characters"),
        ({"grammar": "root ::= " + '"a" ' * 70_000}, "is larger than the 262,144 characters"),
    ],
)
def test_what_is_too_large_is_refused(inside: Served, constraint: dict[str, Any], words: str) -> None:
    answer = inside.post("/v1/completions", HELLO | {"structured_outputs": constraint})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, f"structured_outputs.{next(iter(constraint))}")
    assert words in error["message"]


def test_thousands_of_choices(inside: Served) -> None:
    words = [f"word{number}." for number in range(5000)]
    body = HELLO | {"structured_outputs": {"choice": words}, "max_tokens": 40}
    assert inside.post("/v1/completions", body).json()["choices"][0]["text"] in words


def test_a_structural_tag_as_response_format(inside: Served) -> None:
    tag = {"structures": [{"begin": "<n>", "schema": {"enum": [7]}, "end": "</n>"}], "triggers": ["<n>"]}
    form = HELLO | {"max_tokens": 5, "response_format": {"type": "structural_tag"} | tag}
    assert inside.post("/v1/completions", form).status_code == 200
    wrong = inside.post("/v1/completions", HELLO | {"response_format": {"type": "structural_tag", "structures": []}})
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "response_format")
    assert wrong.json()["error"]["message"].startswith("`response_format` cannot be compiled to a grammar")


COLOUR = {"type": "colour"}
OBJECT = {"type": "object", "properties": {"a": COLOUR}}
CHAT = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "x", "schema": OBJECT}}
TOOLS = {"tools": [{"type": "function", "function": {"name": "f", "parameters": OBJECT}}]}
FLAT = {"type": "json_schema", "name": "x", "schema": OBJECT}


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("completions", HELLO | {"response_format": SCHEMA}, "response_format"),
        ("completions", HELLO | {"response_format": SCHEMA, "use_beam_search": True, "n": 2}, "response_format"),
        ("chat/completions", CHAT | {"response_format": SCHEMA}, "response_format"),
        ("chat/completions", CHAT | {"response_format": SCHEMA, "stream": True}, "response_format"),
        ("chat/completions", CHAT | TOOLS | {"tool_choice": "required"}, "tools"),
        ("responses", {"input": "Hello", "text": {"format": FLAT}}, "text.format"),
        ("messages", CHAT | {"output_config": {"format": FLAT}}, "output_config.format"),
        ("completions", HELLO | {"structured_outputs": {"json": COLOUR}}, "structured_outputs.json"),
        (
            "completions",
            HELLO | {"structured_outputs": {"regex": "a"}, "response_format": {"type": "json_object"}},
            "structured_outputs",
        ),
    ],
)
def test_a_refused_form_is_called_what_the_client_calls_it(
    inside: Served, path: str, body: dict[str, Any], field: str
) -> None:
    """Anthropic's errors have no field: there the sentence names it."""
    answer = inside.with_args(tool_call_parser="hermes").post(f"/v1/{path}", body)
    error = answer.json()["error"]
    assert (answer.status_code, error.get("param", field)) == (400, field)
    assert f"`{field}` " in error["message"]
