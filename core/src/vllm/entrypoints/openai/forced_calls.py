"""Owns the choice of a request's tool-call parser, and forced calls: `tool_choice` "required" or a named function.

A forced call becomes a JSON schema which the output is held to, and that JSON is read back as calls. A reasoning parser has no place
beside it: the output is JSON from its first character.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vllm.entrypoints.openai.parsers_interface import FunctionTool, ParserContext, ToolParser
from vllm.entrypoints.openai.text_source import Program, ignore
from vllm.entrypoints.openai.tools.call_object import read_call_list
from vllm.entrypoints.openai.tools.program import ToolProgram
from vllm.errors import InvalidRequestError, near_names
from vllm.sampling_params import SamplingParams, StructuredOutputsParams

__all__ = ["NamedToolParser", "RequiredToolsParser", "choose_tool_parser", "named_schema", "required_schema"]

_NO_ARGUMENTS: dict[str, Any] = {"type": "object", "properties": {}}
_WHITESPACE = " ?"
"""Between the parts of forced calls: models that were not trained for them like to go on with blank lines until they are cut off."""
ToolChoice = str | Mapping[str, Any] | None


def choose_tool_parser(
    choice: ToolChoice, auto: type[ToolParser] | None, context: ParserContext, *, parallel_calls: bool = True
) -> ToolParser | None:
    """The parser of a request with this `tool_choice`; None where its output is all content.

    `auto` is the class that `--tool-call-parser` names, where the server has one.

    Raises:
        InvalidRequestError: the choice wants calls without tools, a function that is not there, or a server with a parser.
    """
    if choice in (None, "none") or (choice == "auto" and not context.tools):
        return None
    if not context.tools:
        raise InvalidRequestError("When using `tool_choice`, `tools` must be set.", parameter="tool_choice")
    if auto is None:
        raise InvalidRequestError(_without_parser(choice), parameter="tool_choice")
    if choice == "auto":
        return auto(context)
    if choice == "required":
        return RequiredToolsParser(context, parallel_calls=parallel_calls)
    return NamedToolParser(context, _named(choice, context))


class _ForcedParser(ToolParser):
    """A parser that holds the output to a schema."""

    def schema(self) -> dict[str, Any]:
        """What the output must be."""
        raise NotImplementedError

    def adjust(self, params: SamplingParams) -> SamplingParams:
        if params.structured_outputs is not None:
            raise InvalidRequestError(
                "Structured outputs and a forced tool call exclude each other.",
                parameter="tool_choice",
                remedy='leave one of them out, or take `tool_choice="auto"`',
            )
        adjusted = params.clone()
        adjusted.structured_outputs = StructuredOutputsParams(json=self.schema(), whitespace_pattern=_WHITESPACE)
        return adjusted


class RequiredToolsParser(_ForcedParser):
    """`tool_choice="required"`: the output is a JSON list of one or more calls."""

    def __init__(self, context: ParserContext, *, parallel_calls: bool = True) -> None:
        super().__init__(context)
        self._parallel_calls = parallel_calls

    def schema(self) -> dict[str, Any]:
        return required_schema(self.context.tools, parallel_calls=self._parallel_calls)

    def stream(self) -> ToolProgram:
        return _RequiredProgram(self)


class NamedToolParser(_ForcedParser):
    """A named function: the output is the JSON object of its arguments."""

    def __init__(self, context: ParserContext, tool: FunctionTool) -> None:
        super().__init__(context)
        self.tool = tool

    def schema(self) -> dict[str, Any]:
        return named_schema(self.tool)

    def stream(self) -> ToolProgram:
        return _NamedProgram(self, self.tool.name)


class _RequiredProgram(ToolProgram):
    """A schema holds the output to be calls. What is none was cut off before its name: no content, as in vLLM; the finish reason tells."""

    @property
    def malformed(self) -> bool:
        """Arguments that were cut off stay their call's, as in a stream, and as a named function's do."""
        return False

    def read(self) -> Program[None]:
        yield from self.source.skip_blank()
        yield from read_call_list(self)
        yield from self.source.copy_rest(ignore)


class _NamedProgram(ToolProgram):
    """Whatever comes is the arguments, also where it is cut off: a schema holds it to be."""

    def __init__(self, parser: ToolParser, name: str) -> None:
        super().__init__(parser)
        self._name = name

    def read(self) -> Program[None]:
        yield from self.source.skip_blank()
        if not (yield from self.source.at_end()):
            self.open_call(self._name)
            yield from self.source.copy_rest(self.arguments)


def named_schema(tool: FunctionTool) -> dict[str, Any]:
    """The schema of one tool's arguments."""
    return dict(tool.parameters or _NO_ARGUMENTS)


def required_schema(tools: Sequence[FunctionTool], *, parallel_calls: bool = True) -> dict[str, Any]:
    """The schema of `[{"name": …, "parameters": {…}}, …]`, each with the arguments of its tool."""
    schema: dict[str, Any] = {
        "type": "array",
        "minItems": 1,
        "items": {"anyOf": list(map(_call_schema, range(len(tools)), tools))},
    }
    if not parallel_calls:
        schema["maxItems"] = 1
    schema["$defs"] = {_place(number): _moved(named_schema(tool), number) for number, tool in enumerate(tools)}
    return schema


def _call_schema(number: int, tool: FunctionTool) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            "name": {"type": "string", "enum": [tool.name]},
            "parameters": {"$ref": f"#/$defs/{_place(number)}"},
        },
        "required": ["name", "parameters"],
        "additionalProperties": False,
    }


def _place(number: int) -> str:
    return f"tool{number}"


def _moved(schema: Any, number: int) -> Any:
    """`schema` with its references to itself pointing to where it now lies."""
    if isinstance(schema, list):
        return [_moved(item, number) for item in schema]
    if not isinstance(schema, dict):
        return schema
    moved = {key: _moved(value, number) for key, value in schema.items()}
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference.startswith("#"):
        moved["$ref"] = f"#/$defs/{_place(number)}{reference[1:]}"
    return moved


def _named(choice: ToolChoice, context: ParserContext) -> FunctionTool:
    """The tool that a choice `{"type": "function", "function": {"name": …}}` (or, in Responses, `{"name": …}`) names."""
    function = choice.get("function", choice) if isinstance(choice, Mapping) else {}
    name = function.get("name") if isinstance(function, Mapping) else None
    tool = context.tool(name) if isinstance(name, str) else None
    if tool is None:
        names = [each.name for each in context.tools]
        raise InvalidRequestError(
            f"`tool_choice` names {name!r}, which is none of the request's tools ({', '.join(names)}).",
            parameter="tool_choice",
            candidates=near_names(str(name), names),
        )
    return tool


def _without_parser(choice: ToolChoice) -> str:
    if choice == "auto":
        return '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'
    shown = f'"{choice}"' if isinstance(choice, str) else "a named function"
    return f"tool_choice={shown} requires --tool-call-parser to be set"
