"""Owns the step from an argument's text to JSON, by the tool's schema: formats that are no JSON write every value as bare text."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Iterator, Mapping
from math import isfinite
from typing import Any

from vllm.entrypoints.openai.value_scanner import json_text

__all__ = ["json_from_python", "json_from_text", "parameter_schema", "takes_only_text"]

_MAX_REFERENCES = 16


def parameter_schema(parameters: Mapping[str, Any] | None, name: str) -> Mapping[str, Any]:
    """The schema of one argument; empty where the tool does not say."""
    properties = (parameters or {}).get("properties")
    schema = properties.get(name) if isinstance(properties, Mapping) else None
    return _referred(schema, parameters or {}) if isinstance(schema, Mapping) else {}


def takes_only_text(schema: Mapping[str, Any]) -> bool:
    """Whether every value is a string, so that its text can be given out as it comes. Where nothing is known it is."""
    return set(_types(schema)) <= {"string"}


def json_from_text(text: str, schema: Mapping[str, Any]) -> str:
    """The value as JSON: the first type of the schema that the text fits; a string where none does."""
    types = set(_types(schema))
    for kind, read in _READERS.items():
        if kind in types and (value := read(text.strip())) is not None:
            return value
    return json_text(text)


def json_from_python(text: str) -> str | None:
    """A Python literal (or JSON) as JSON; None where it is neither, or JSON has no such value."""
    if (constant := _null(text) or _boolean(text)) is not None:
        return constant
    value = _literal(text)
    try:
        return None if value is None else json_text(value)
    except (TypeError, ValueError, RecursionError):
        return None


def _types(schema: Mapping[str, Any]) -> Iterator[str]:
    declared = schema.get("type")
    yield from [declared] if isinstance(declared, str) else declared if isinstance(declared, list) else ()
    for branches in (schema.get("anyOf"), schema.get("oneOf"), schema.get("allOf")):
        for branch in branches if isinstance(branches, list) else ():
            yield from _types(branch) if isinstance(branch, Mapping) else ()
    if declared is None:
        yield from (_type_of(value) for value in _listed_values(schema))


def _listed_values(schema: Mapping[str, Any]) -> list[Any]:
    values = schema.get("enum")
    return [*(values if isinstance(values, list) else ()), *([schema["const"]] if "const" in schema else ())]


def _type_of(value: Any) -> str:
    names = {bool: "boolean", int: "integer", float: "number", str: "string", dict: "object", list: "array"}
    return names.get(type(value), "null")


def _referred(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    """Follow `$ref` within the tool's own schema."""
    for _ in range(_MAX_REFERENCES):
        reference = schema.get("$ref")
        if not (isinstance(reference, str) and reference.startswith("#/")):
            break
        found: Any = root
        for step in reference[2:].split("/"):
            found = found.get(step) if isinstance(found, Mapping) else None
        schema = found if isinstance(found, Mapping) else {}
    return schema


def _null(text: str) -> str | None:
    return "null" if text.lower() in ("null", "none") else None


def _boolean(text: str) -> str | None:
    return text.lower() if text.lower() in ("true", "false") else None


def _integer(text: str) -> str | None:
    value = _literal(text)
    return json.dumps(int(value)) if type(value) in (int, float) and value == value // 1 else None


def _number(text: str) -> str | None:
    value = _literal(text)
    return json_text(value) if type(value) in (int, float) and isfinite(value) else None


def _object(text: str) -> str | None:
    return _container(text, dict)


def _array(text: str) -> str | None:
    return _container(text, (list, tuple))


def _container(text: str, kind: type | tuple[type, ...]) -> str | None:
    """JSON stays as it was written; a Python literal, which models write too, becomes JSON."""
    return json_from_python(text) if isinstance(_literal(text), kind) else None


def _literal(text: str) -> Any:
    """The value of JSON or of a Python literal; None where it is neither (or null)."""
    try:
        return json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return _python_literal(text)


def _python_literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


_READERS: dict[str, Callable[[str], str | None]] = {
    "null": _null,
    "boolean": _boolean,
    "integer": _integer,
    "number": _number,
    "object": _object,
    "array": _array,
}
"""In the order in which they are tried."""
