"""Owns what a chat's `tools` and `tool_choice` mean: what the template shows, and which parsers read the output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vllm.entrypoints.openai.forced_calls import choose_tool_parser
from vllm.entrypoints.openai.parsers_interface import FunctionTool, ParserContext
from vllm.entrypoints.openai.protocol.chat import NamedTool
from vllm.entrypoints.openai.reasoning import ReasoningParserManager
from vllm.entrypoints.openai.sampling_from_request import structured_outputs_of
from vllm.entrypoints.openai.tools import ToolParserManager
from vllm.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from vllm.entrypoints.openai.parsers_interface import ReasoningParser, ToolParser
    from vllm.entrypoints.openai.protocol.chat import ChatRequest, Tool
    from vllm.entrypoints.openai.server_args import ServerArgs
    from vllm.sampling_params import SamplingParams
    from vllm.text.tokenizer import Tokenizer

__all__ = ["OutputReaders", "ToolPlan", "output_readers", "tool_plan"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolPlan:
    """What a request says about tools."""

    shown: tuple[Tool, ...]
    """What the template gets."""
    choice: str | NamedTool
    parallel_calls: bool

    @property
    def is_named(self) -> bool:
        """Whether one function is to be called, whatever the model would say."""
        return isinstance(self.choice, NamedTool)

    @property
    def is_forced(self) -> bool:
        """Whether the output is calls and nothing else."""
        return self.is_named or self.choice == "required"


def tool_plan(body: ChatRequest, args: ServerArgs) -> ToolPlan:
    """Raises InvalidRequestError where tools and choice do not fit each other."""
    if body.tools is not None and not body.tools:
        raise InvalidRequestError("`tools` must hold at least one tool, or be left out.", parameter="tools")
    choice = body.tool_choice or ("auto" if body.tools else "none")
    if choice != "none" and not body.tools:
        raise InvalidRequestError("`tool_choice` needs `tools`.", parameter="tool_choice")
    hides = choice == "none" and args.exclude_tools_when_tool_choice_none
    return ToolPlan(
        shown=() if hides else tuple(body.tools or ()),
        choice=choice,
        parallel_calls=body.parallel_tool_calls is not False,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class OutputReaders:
    """The parsers of one request; without any, all is content."""

    reasoning: ReasoningParser | None
    tools: ToolParser | None

    @property
    def read_nothing(self) -> bool:
        """Whether text goes to the client as it is."""
        return self.reasoning is None and self.tools is None

    def adjusted(self, params: SamplingParams) -> SamplingParams:
        """The parameters with what the parsers need: tags in the text, or a form that forces calls."""
        for parser in (self.reasoning, self.tools):
            params = params if parser is None else parser.adjust(params)
        return params


def output_readers(
    body: ChatRequest,
    args: ServerArgs,
    plan: ToolPlan,
    *,
    prompt_text: str,
    kwargs: Mapping[str, Any],
    tokenizer: Tokenizer,
) -> OutputReaders:
    """The parsers for this request. Raises InvalidRequestError where the server has none that it needs."""
    if args.reasoning_parser is None and plan.choice == "none":
        return OutputReaders(reasoning=None, tools=None)
    context = ParserContext(
        tools=tuple(_function(tool) for tool in plan.shown),
        chat_template_kwargs=kwargs,
        prompt_text=prompt_text,
        special_tokens=frozenset(tokenizer.convert_ids_to_tokens(tokenizer.all_special_ids)),
    )
    return OutputReaders(
        reasoning=_reasoning_parser(body, args, plan, context), tools=_tool_parser(args, plan, context)
    )


def _function(tool: Tool) -> FunctionTool:
    function = tool.function
    return FunctionTool(name=function.name, description=function.description, parameters=function.parameters)


def _reasoning_parser(
    body: ChatRequest, args: ServerArgs, plan: ToolPlan, context: ParserContext
) -> ReasoningParser | None:
    """Where a grammar rules from the first token on, there is no reasoning to part."""
    if args.reasoning_parser is None or plan.is_forced or structured_outputs_of(body) is not None:
        return None
    return ReasoningParserManager.get(args.reasoning_parser)(context)


def _tool_parser(args: ServerArgs, plan: ToolPlan, context: ParserContext) -> ToolParser | None:
    name = args.tool_call_parser if args.enable_auto_tool_choice or plan.choice != "auto" else None
    parser = ToolParserManager.get(name) if name is not None else None
    choice = plan.choice.model_dump() if isinstance(plan.choice, NamedTool) else plan.choice
    return choose_tool_parser(choice, parser, context, parallel_calls=plan.parallel_calls)
