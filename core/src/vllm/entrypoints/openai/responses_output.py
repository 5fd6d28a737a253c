"""Owns how outputs look in the Responses API: the items, the response around them, and the events of a stream."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from vllm.entrypoints.openai.output_parts import PartBegun, PartEnded, PartGrown
from vllm.entrypoints.openai.streaming import named_event

if TYPE_CHECKING:
    from vllm.entrypoints.openai.output_parts import Part, Step
    from vllm.entrypoints.openai.protocol.answers import ChatTokenLogprob, Usage
    from vllm.entrypoints.openai.protocol.responses import ResponsesRequest
    from vllm.sampling_params import SamplingParams

__all__ = ["EventWriter", "finished", "item_of", "new_response", "usage_of"]

Json = dict[str, Any]
_PREFIX = {"text": "msg", "reasoning": "rs", "call": "fc"}


def new_response(response_id: str, body: ResponsesRequest, model: str, params: SamplingParams) -> Json:
    """A response that has no output yet. It tells the request again."""
    return {
        "id": response_id,
        "object": "response",
        "created_at": int(time.time()),
        "status": "in_progress",
        "background": bool(body.background),
        "error": None,
        "incomplete_details": None,
        "instructions": body.instructions,
        "max_output_tokens": body.max_output_tokens,
        "metadata": body.metadata or {},
        "model": model,
        "output": [],
        "parallel_tool_calls": body.parallel_tool_calls is not False,
        "previous_response_id": body.previous_response_id,
        "reasoning": body.reasoning.model_dump() if body.reasoning else {"effort": None, "summary": None},
        "service_tier": "default",
        "store": body.store is not False,
        "temperature": params.temperature,
        "text": _text_config(body),
        "tool_choice": body.tool_choice or "auto",
        "tools": body.tools or [],
        "top_logprobs": body.top_logprobs or 0,
        "top_p": params.top_p,
        "truncation": "disabled",
        "usage": None,
        "user": body.user,
    }


def _text_config(body: ResponsesRequest) -> Json:
    told = body.text.model_dump(by_alias=True, exclude_none=True) if body.text else {}
    return {"format": {"type": "text"}, **told}


def finished(response: Json, items: list[Json], *, finish_reason: str | None, usage: Json) -> Json:
    """The response with its output. One that was cut off is incomplete, and so is its last item."""
    is_cut = finish_reason == "length"
    if is_cut and items and "status" in items[-1]:
        items[-1]["status"] = "incomplete"
    return response | {
        "status": "incomplete" if is_cut else "completed",
        "incomplete_details": {"reason": "max_output_tokens"} if is_cut else None,
        "completed_at": None if is_cut else int(time.time()),
        "output": items,
        "usage": usage,
    }


def usage_of(usage: Usage, *, reasoning_tokens: int) -> Json:
    """Tokens, as this API names them."""
    details = usage.prompt_tokens_details
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": details.cached_tokens if details else 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": reasoning_tokens},
        "total_tokens": usage.total_tokens,
    }


def new_item_id(part: Part) -> str:
    return f"{_PREFIX[part.kind]}_{uuid.uuid4().hex}"


def item_of(part: Part, logprobs: Sequence[ChatTokenLogprob] = (), *, item_id: str | None = None) -> Json:
    """The whole of a part."""
    return _item(part, item_id or new_item_id(part), "completed", part.text, [_content(part, part.text, logprobs)])


def _item(part: Part, item_id: str, status: str, text: str, content: list[Json]) -> Json:
    match part.kind:
        case "text":
            return {"id": item_id, "type": "message", "role": "assistant", "status": status, "content": content}
        case "reasoning":
            return {"id": item_id, "type": "reasoning", "summary": [], "content": content, "status": status}
        case "call":
            call = {"call_id": part.call_id, "name": part.name, "arguments": text}
            return {"id": item_id, "type": "function_call", "status": status, **call}


def _content(part: Part, text: str, logprobs: Sequence[ChatTokenLogprob] = ()) -> Json:
    if part.kind == "reasoning":
        return {"type": "reasoning_text", "text": text}
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": msgspec.to_builtins(logprobs)}


class EventWriter:
    """The events of one response, numbered."""

    def __init__(self) -> None:
        self._count = 0
        self._item_id = ""
        self.items: list[Json] = []
        """Those that have ended."""
        self._logprobs: list[ChatTokenLogprob] = []
        self._told_logprobs = 0

    def lifecycle(self, name: str, response: Json) -> bytes:
        """What has become of the response."""
        return self._event(f"response.{name}", response=response)

    def add_logprobs(self, logprobs: Sequence[ChatTokenLogprob]) -> None:
        """Of the tokens whose text comes next."""
        self._logprobs += logprobs

    def step(self, step: Step) -> list[bytes]:
        """The events that tell it."""
        match step:
            case PartBegun(part):
                return self._begun(part)
            case PartGrown(part, text):
                return [self._grown(part, text)]
            case PartEnded(part):
                return self._ended(part)

    def _begun(self, part: Part) -> list[bytes]:
        self._item_id = new_item_id(part)
        item = _item(part, self._item_id, "in_progress", "", [])
        added = self._event("response.output_item.added", output_index=part.index, item=item)
        if part.kind == "call":
            return [added]
        return [added, self._in_part(part, "response.content_part.added", part=_content(part, ""))]

    def _grown(self, part: Part, text: str) -> bytes:
        match part.kind:
            case "text":
                return self._in_part(part, "response.output_text.delta", delta=text, logprobs=self._new_logprobs())
            case "reasoning":
                return self._in_part(part, "response.reasoning_text.delta", delta=text)
            case "call":
                return self._in_item(part, "response.function_call_arguments.delta", delta=text)

    def _ended(self, part: Part) -> list[bytes]:
        logprobs = self._logprobs if part.kind == "text" else []
        item = item_of(part, logprobs, item_id=self._item_id)
        self.items.append(item)
        return [
            *self._text_done(part, item),
            self._event("response.output_item.done", output_index=part.index, item=item),
        ]

    def _text_done(self, part: Part, item: Json) -> list[bytes]:
        if part.kind == "call":
            name = "response.function_call_arguments.done"
            return [self._in_item(part, name, name=part.name, arguments=part.text)]
        (content,) = item["content"]
        told = {key: content[key] for key in ("text", "logprobs") if key in content}
        kind = "output_text" if part.kind == "text" else "reasoning_text"
        return [
            self._in_part(part, f"response.{kind}.done", **told),
            self._in_part(part, "response.content_part.done", part=content),
        ]

    def _new_logprobs(self) -> list[ChatTokenLogprob]:
        new = self._logprobs[self._told_logprobs :]
        self._told_logprobs = len(self._logprobs)
        return new

    def _in_part(self, part: Part, name: str, /, **fields: Any) -> bytes:
        return self._event(name, item_id=self._item_id, output_index=part.index, content_index=0, **fields)

    def _in_item(self, part: Part, name: str, /, **fields: Any) -> bytes:
        return self._event(name, item_id=self._item_id, output_index=part.index, **fields)

    def _event(self, kind: str, /, **fields: Any) -> bytes:
        number = self._count
        self._count += 1
        return named_event(kind, {"type": kind, "sequence_number": number, **fields})
