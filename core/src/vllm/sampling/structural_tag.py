"""Owns structural tags: free text in which, once a trigger was written, one of several tags must follow, with JSON of its schema inside.

Two spellings are read: `{"structures": [{"begin", "schema", "end"}], "triggers": […]}`, and
`{"format": {"type": "triggered_tags", "triggers": […], "tags": [{"begin", "content": {"type": "json_schema", "json_schema"}, "end"}]}}`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import msgspec

__all__ = ["structural_tag_grammar"]


class _Structure(msgspec.Struct):
    """One tag."""

    begin: str
    schema: dict[str, Any] | bool
    end: str


class _Structures(msgspec.Struct):
    """The first spelling."""

    structures: list[_Structure]
    triggers: list[str]


class _Content(msgspec.Struct, tag="json_schema"):
    """What stands inside a tag."""

    json_schema: dict[str, Any] | bool


class _Tag(msgspec.Struct):
    """One tag."""

    begin: str
    content: _Content
    end: str


class _TriggeredTags(msgspec.Struct, tag="triggered_tags"):
    """Tags in free text."""

    triggers: list[str]
    tags: list[_Tag]
    at_least_one: bool = False
    stop_after_first: bool = False


class _Format(msgspec.Struct):
    """The second spelling."""

    format: _TriggeredTags


@dataclass(frozen=True, slots=True)
class _Triggered:
    """One tag with the trigger that its beginning starts with."""

    trigger: str
    begin: str
    schema: Any
    end: str


def structural_tag_grammar(text: str) -> str:
    """The grammar in llguidance's form. Raises ValueError with what is wrong."""
    from llguidance import StructTag

    tags = [
        StructTag(trigger=each.trigger, begin=each.begin, grammar=json.dumps(each.schema), end=each.end)
        if isinstance(each.schema, dict)
        else StructTag(
            trigger=each.trigger, begin=each.begin, grammar=f"start: %json {json.dumps(each.schema)}", end=each.end
        )
        for each in _tags(text)
    ]
    return str(StructTag.to_grammar(tags, assume_special=False))


def _tags(text: str) -> list[_Triggered]:
    structures, triggers = _read(text)
    if not structures or not all(triggers) or not triggers:
        raise ValueError("it needs at least one tag, and triggers that are not empty")
    return [_Triggered(_trigger_of(each, triggers), each.begin, each.schema, each.end) for each in structures]


def _read(text: str) -> tuple[list[_Structure], list[str]]:
    """Either spelling as the first. msgspec's errors are ValueErrors."""
    if "format" not in msgspec.json.decode(text, type=dict[str, msgspec.Raw]):
        found = msgspec.json.decode(text, type=_Structures)
        return found.structures, found.triggers
    form = msgspec.json.decode(text, type=_Format).format
    if form.at_least_one or form.stop_after_first:
        raise ValueError("`at_least_one` and `stop_after_first` are not supported")
    return [_Structure(each.begin, each.content.json_schema, each.end) for each in form.tags], form.triggers


def _trigger_of(structure: _Structure, triggers: list[str]) -> str:
    """The longest that fits."""
    fitting = [trigger for trigger in triggers if structure.begin.startswith(trigger)]
    if not fitting:
        raise ValueError(f"the tag {structure.begin!r} begins with no trigger")
    return max(fitting, key=len)
