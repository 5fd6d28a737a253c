"""Owns the step from `StructuredOutputsParams` to a grammar in llguidance's form. No tokenizer is needed: any process can check."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from vllm.errors import InvalidRequestError
from vllm.sampling.structural_tag import structural_tag_grammar
from vllm.sampling_params import StructuredOutputsParams

if TYPE_CHECKING:
    from llguidance._lib import JsonCompileOptions

__all__ = ["check_structured_outputs", "grammar_source"]

_ANY_OBJECT = {"type": "object"}
LONGEST_MESSAGE = 2000


def check_structured_outputs(params: StructuredOutputsParams) -> None:
    """Raise InvalidRequestError if the schema, regex, grammar or choice cannot be compiled."""
    import llguidance

    is_error, messages = llguidance.LLMatcher.validate_grammar_with_warnings(grammar_source(params))
    if is_error:
        raise refusal(params, "; ".join(messages))


def grammar_source(params: StructuredOutputsParams) -> str:
    """The grammar as llguidance takes it. Raises InvalidRequestError for text that is no JSON, EBNF or Lark at all."""
    params.verify()
    try:
        return _source(params)
    except RecursionError:
        raise refusal(params, "it is nested too deep") from None


def _source(params: StructuredOutputsParams) -> str:
    if params.json is not None:
        return _json_source(params, _schema(params))
    if params.json_object:
        return _json_source(params, _ANY_OBJECT)
    return _text_source(params)


def refusal(params: StructuredOutputsParams, message: str) -> InvalidRequestError:
    """The error for a constraint that llguidance refuses, with its words."""
    return InvalidRequestError(
        f"`structured_outputs.{params.kind}` cannot be compiled to a grammar: {_cut(message.strip())}",
        parameter=f"structured_outputs.{params.kind}",
    )


def _cut(message: str) -> str:
    """llguidance shows the whole of what it refuses, however long."""
    return message if len(message) <= LONGEST_MESSAGE else f"{message[:LONGEST_MESSAGE]} …"


def _schema(params: StructuredOutputsParams) -> Any:
    if not isinstance(params.json, str):
        return params.json
    try:
        return json.loads(params.json)
    except ValueError as error:
        raise refusal(params, f"the schema is no JSON: {error}") from error


def _json_source(params: StructuredOutputsParams, schema: Any) -> str:
    import llguidance

    if params.disable_additional_properties:
        schema = _closed(schema)
    options: JsonCompileOptions = {}
    if params.disable_any_whitespace:
        options["whitespace_flexible"] = False
    elif params.whitespace_pattern is not None:
        options["whitespace_pattern"] = params.whitespace_pattern
    if not options or not isinstance(schema, dict):  # the schemas `true` and `false` take no options
        return json.dumps({"grammars": [{"json_schema": schema}]})
    try:
        return str(llguidance.LLMatcher.grammar_from_json_schema(schema, overrides=options))
    except ValueError as error:
        raise refusal(params, str(error)) from error


def _closed(schema: Any) -> Any:
    """The schema with `additionalProperties: false` in every object that lists its properties and does not say otherwise."""
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: value if key in ("const", "enum", "default") else _closed(value) for key, value in schema.items()}
    if isinstance(closed.get("properties"), dict):
        closed.setdefault("additionalProperties", False)
    return closed


def _text_source(params: StructuredOutputsParams) -> str:
    import llguidance

    if params.regex is not None:
        # As in vLLM's default backend, \d, \w and \s mean ASCII characters.
        return f"start: /{llguidance.regex_to_lark(params.regex, 'dws')}/"
    if params.choice is not None:
        alternatives = " | ".join(json.dumps(text, ensure_ascii=False) for text in params.choice)
        # As a terminal, which is one regex: a rule may not have thousands of alternatives.
        return str(llguidance.LLMatcher.grammar_from_lark(f"start: CHOICE\nCHOICE: {alternatives}"))
    try:
        if params.structural_tag is not None:
            assert isinstance(params.structural_tag, str), "a dict became text in `verify`"
            return structural_tag_grammar(params.structural_tag)
        return str(
            llguidance.grammar_from("grammar", f"{params.grammar}\n")
        )  # its EBNF reader wants the last line ended
    except ValueError as error:
        raise refusal(params, str(error)) from error
