"""Owns the contracts of tool-call parsers and reasoning parsers, and what they hand out. Pure text and token ids: no HTTP, no engine.

A parser is made once per request and gives one *stream* per output (`n` outputs, `n` streams). `feed` takes what was generated since the
last call and gives what can be told already; `finish` gives the rest. Any way of cutting the text gives the same whole. A parser that is
not streamed to is asked to `parse` the whole text; by default that is a stream fed once.

A reasoning parser stands before the tool-call parser: what it calls content is what the other one reads (`output_stream.py` joins both).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import uuid4

if TYPE_CHECKING:
    from vllm.sampling_params import SamplingParams

__all__ = [
    "ContentDelta",
    "Delta",
    "FunctionTool",
    "ParsedReasoning",
    "ParsedTools",
    "ParserContext",
    "ReasoningDelta",
    "ReasoningParser",
    "ReasoningStream",
    "ToolCall",
    "ToolCallDelta",
    "ToolParser",
    "ToolStream",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class FunctionTool:
    """A function that the model may call: `parameters` is the JSON schema of its arguments object."""

    name: str
    description: str | None = None
    parameters: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ParserContext:
    """What a parser may know of the request whose output it reads."""

    tools: tuple[FunctionTool, ...] = ()
    chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    prompt_text: str | None = None
    """The rendered prompt, where it is at hand: its end says whether the model was put into (or out of) reasoning."""
    special_tokens: frozenset[str] | None = None
    """Texts that the detokeniser leaves out with `skip_special_tokens`; None where they are not known."""

    def tool(self, name: str) -> FunctionTool | None:
        """The tool of that name."""
        return next((tool for tool in self.tools if tool.name == name), None)

    def hides(self, tags: Iterable[str]) -> bool:
        """Whether one of `tags` would be missing from a text without special tokens (assumed, where they are not known)."""
        return self.special_tokens is None or not self.special_tokens.isdisjoint(tags)


@dataclass(frozen=True, slots=True)
class ContentDelta:
    """Further text of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """Further text of the reasoning."""

    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolCallDelta:
    """Further text of a call's arguments. The first delta of a call has its `id` and `name`, the others have None."""

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""


Delta = ContentDelta | ReasoningDelta | ToolCallDelta


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolCall:
    """One whole call; `arguments` is JSON text, as the model wrote it where its format is JSON."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ParsedTools:
    """A whole text: its calls, and what is none."""

    content: str
    calls: tuple[ToolCall, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class ParsedReasoning:
    """A whole text: its reasoning and its answer; either may be empty."""

    reasoning: str
    content: str


class ToolStream(ABC):
    """The reading of one output as it arrives."""

    @abstractmethod
    def feed(self, text: str, token_ids: Sequence[int] = ()) -> list[ContentDelta | ToolCallDelta]:
        """Take what was generated since the last call; `token_ids` are its tokens, where the caller has them."""

    @abstractmethod
    def finish(self) -> list[ContentDelta | ToolCallDelta]:
        """The output has ended, or was cut off: give what was held back."""

    @property
    def malformed(self) -> bool:
        """Whether a call has begun (its name is out) and its arguments turned out to be no JSON object. Asked after `finish`."""
        return False


class ReasoningStream(ABC):
    """The reading of one output as it arrives."""

    @abstractmethod
    def feed(self, text: str, token_ids: Sequence[int] = ()) -> list[ReasoningDelta | ContentDelta]:
        """Take what was generated since the last call; `token_ids` are its tokens, where the caller has them."""

    @abstractmethod
    def finish(self) -> list[ReasoningDelta | ContentDelta]:
        """The output has ended, or was cut off: give what was held back."""


class _Parser:
    """What both kinds of parser share."""

    def __init__(self, context: ParserContext) -> None:
        self.context = context

    @property
    def needs_special_tokens(self) -> bool:
        """Whether the text must be detokenised with `skip_special_tokens=False`, so that the tags are in it."""
        return False

    def adjust(self, params: SamplingParams) -> SamplingParams:
        """The sampling parameters with which the request should run; the given ones stay as they are."""
        if not (self.needs_special_tokens and params.skip_special_tokens):
            return params
        adjusted = params.clone()
        adjusted.skip_special_tokens = False
        return adjusted


class ToolParser(_Parser, ABC):
    """Finds the tool calls in a model's text. Made once per request; `register_tool_parser` gives it a name."""

    @abstractmethod
    def stream(self) -> ToolStream:
        """A new reader for one output."""

    def new_call_id(self) -> str:
        """An id for one call; some chat templates ask for a form of their own."""
        return f"call_{uuid4().hex}"

    def parse(self, text: str, token_ids: Sequence[int] = ()) -> ParsedTools:
        """Read a whole output. Where a call is malformed, everything is content, and nothing is lost."""
        stream = self.stream()
        deltas = [*stream.feed(text, token_ids), *stream.finish()]
        return ParsedTools(content=text) if stream.malformed else _collect_tools(deltas)


class ReasoningParser(_Parser, ABC):
    """Parts a model's reasoning from its answer. Made once per request; `register_reasoning_parser` gives it a name."""

    @abstractmethod
    def stream(self) -> ReasoningStream:
        """A new reader for one output."""

    def parse(self, text: str, token_ids: Sequence[int] = ()) -> ParsedReasoning:
        """Read a whole output."""
        stream = self.stream()
        deltas = [*stream.feed(text, token_ids), *stream.finish()]
        reasoning = "".join(delta.text for delta in deltas if isinstance(delta, ReasoningDelta))
        return ParsedReasoning(
            reasoning=reasoning, content="".join(delta.text for delta in deltas if isinstance(delta, ContentDelta))
        )


def _collect_tools(deltas: Iterable[ContentDelta | ToolCallDelta]) -> ParsedTools:
    """Join the deltas of one output."""
    content: list[str] = []
    heads: list[ToolCallDelta] = []
    arguments: dict[int, list[str]] = {}
    for delta in deltas:
        if isinstance(delta, ContentDelta):
            content.append(delta.text)
            continue
        if delta.name is not None:
            heads.append(delta)
        arguments.setdefault(delta.index, []).append(delta.arguments)
    calls = [
        ToolCall(id=head.id or "", name=head.name or "", arguments="".join(arguments[head.index])) for head in heads
    ]
    return ParsedTools(content="".join(content), calls=tuple(calls))
