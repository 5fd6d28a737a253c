"""Structural tags: free text is free, and what begins like a tag goes on like one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.tests.front.conftest import TINY
from vllm.errors import InvalidRequestError
from vllm.sampling.structured_output import GrammarFactory, check_structured_outputs
from vllm.sampling_params import StructuredOutputsParams
from vllm.text.tokenizer import load_tokenizer

EOS = 3
ADD = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}
OLD: dict[str, Any] = {
    "structures": [
        {"begin": "<f=add>", "schema": ADD, "end": "</f>"},
        {"begin": "<f=yes>", "schema": True, "end": "</f>"},
    ],
    "triggers": ["<f="],
}
NEW: dict[str, Any] = {
    "format": {
        "type": "triggered_tags",
        "triggers": ["<f="],
        "tags": [
            {"begin": each["begin"], "content": {"type": "json_schema", "json_schema": each["schema"]}, "end": "</f>"}
            for each in OLD["structures"]
        ],
    }
}


def accepted(given: Any, text: str) -> tuple[int, bool]:
    """How many characters are allowed, and whether the output may end there."""
    tokenizer = load_tokenizer(TINY)
    factory = GrammarFactory(lambda: tokenizer, vocab_size=2048, eos_token_ids=[EOS])
    state = factory.new_state(StructuredOutputsParams(structural_tag=given))
    for count, character in enumerate(text):
        ids = tokenizer.encode(character, add_special_tokens=False)
        if not all(state.accept(token_id) for token_id in ids):
            return count, state.is_complete
    return len(text), state.is_complete


@pytest.mark.parametrize("given", [OLD, NEW, json.dumps(OLD)], ids=["old", "new", "text"])
@pytest.mark.parametrize(
    ("text", "count", "complete"),
    [
        ("no tag at all", 13, True),
        ("a < b <f", 8, True),
        ('one <f=add>{"a": 12}</f> more', 29, True),
        ('<f=add>{"a": 1}</f><f=yes>null</f>', 34, True),
        ("so <f=sub>", 6, False),
        ('<f=add>{"b', 9, False),
        ('<f=add>{"a": 1}', 15, False),
        ('<f=add>{"a": 1} x', 15, False),
    ],
)
def test_what_may_be_written(given: Any, text: str, count: int, complete: bool) -> None:
    assert accepted(given, text) == (count, complete)


def nested(levels: int) -> list[Any]:
    inside: list[Any] = []
    for _ in range(levels):
        inside = [inside]
    return inside


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("{", "cannot be compiled"),
        ({"structures": [], "triggers": ["<"]}, "at least one tag"),
        ({"structures": OLD["structures"], "triggers": []}, "triggers that are not empty"),
        ({"structures": OLD["structures"], "triggers": [""]}, "triggers that are not empty"),
        ({"structures": OLD["structures"], "triggers": ["["]}, "'<f=add>' begins with no trigger"),
        ({"structures": [{"begin": "<"}], "triggers": ["<"]}, "schema"),
        ({"format": {"type": "json_schema"}}, "json_schema"),
        ({"format": NEW["format"] | {"at_least_one": True}}, "at_least_one"),
        ({"structures": {1, 2}, "triggers": ["<"]}, "must be JSON"),
        ({"structures": nested(3000), "triggers": ["<"]}, "reasonable depth .*structures"),
        ({"structures": [{"begin": "<", "schema": {"type": "colour"}, "end": ">"}], "triggers": ["<"]}, "colour"),
    ],
)
def test_what_is_no_structural_tag(given: Any, words: str) -> None:
    with pytest.raises(InvalidRequestError, match=words) as caught:
        check_structured_outputs(StructuredOutputsParams(structural_tag=given))
    assert caught.value.parameter == "structured_outputs.structural_tag"
