"""Owns how outputs look in Anthropic's API: the blocks, the message around them, and the events of a stream."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vllm.entrypoints.openai.output_parts import PartBegun, PartEnded, PartGrown
from vllm.entrypoints.openai.streaming import named_event

if TYPE_CHECKING:
    from vllm.entrypoints.openai.output_parts import Part, Step
    from vllm.outputs import CompletionOutput

__all__ = ["end_events", "message_of", "start_event", "step_event"]

Json = dict[str, Any]


def message_of(
    message_id: str, model: str, output: CompletionOutput, parts: Sequence[Part], *, input_tokens: int
) -> Json:
    """The whole message."""
    blocks = list(map(_block, parts))
    reason, sequence = stop_of(output, calls=any(block["type"] == "tool_use" for block in blocks))
    usage = {"input_tokens": input_tokens, "output_tokens": len(output.token_ids)}
    return _message(message_id, model, blocks, usage) | {"stop_reason": reason, "stop_sequence": sequence}


def _message(message_id: str, model: str, content: list[Json], usage: Json) -> Json:
    return {
        "id": message_id,
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": content,
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage,
    }


def _block(part: Part) -> Json:
    match part.kind:
        case "text":
            return {"type": "text", "text": part.text}
        case "reasoning":
            return {"type": "thinking", "thinking": part.text, "signature": ""}
        case "call":
            return _tool_use(part)


def _tool_use(part: Part) -> Json:
    """A call that was cut off has no `input` yet: what there is of it is text."""
    try:
        arguments = json.loads(part.text or "{}")
    except (ValueError, RecursionError):
        arguments = None
    if not isinstance(arguments, dict):
        return {"type": "text", "text": part.text}
    return {"type": "tool_use", "id": part.call_id, "name": part.name, "input": arguments}


def stop_of(output: CompletionOutput, *, calls: bool) -> tuple[str, str | None]:
    """Why the message ended, and the stop sequence if it was one."""
    if output.finish_reason == "length":
        return "max_tokens", None
    if isinstance(output.stop_reason, str):
        return "stop_sequence", output.stop_reason
    return "tool_use" if calls else "end_turn", None


# ---- events


def start_event(message_id: str, model: str, *, input_tokens: int) -> bytes:
    """Who speaks."""
    usage = {"input_tokens": input_tokens, "output_tokens": 0}
    return _event("message_start", message=_message(message_id, model, [], usage))


def step_event(step: Step) -> bytes:
    """A block that begins, grows, or ends."""
    match step:
        case PartBegun(part):
            return _event("content_block_start", index=part.index, content_block=_empty_block(part))
        case PartGrown(part, text):
            return _event("content_block_delta", index=part.index, delta=_delta(part, text))
        case PartEnded(part):
            return _event("content_block_stop", index=part.index)


def end_events(output: CompletionOutput, *, calls: bool, input_tokens: int, output_tokens: int) -> list[bytes]:
    """Why it ended, and how many tokens it was."""
    reason, sequence = stop_of(output, calls=calls)
    usage = {"input_tokens": input_tokens, "output_tokens": output_tokens}
    delta = {"stop_reason": reason, "stop_sequence": sequence}
    return [_event("message_delta", delta=delta, usage=usage), _event("message_stop")]


def _empty_block(part: Part) -> Json:
    match part.kind:
        case "text":
            return {"type": "text", "text": ""}
        case "reasoning":
            return {"type": "thinking", "thinking": "", "signature": ""}
        case "call":
            return {"type": "tool_use", "id": part.call_id, "name": part.name, "input": {}}


def _delta(part: Part, text: str) -> Json:
    match part.kind:
        case "text":
            return {"type": "text_delta", "text": text}
        case "reasoning":
            return {"type": "thinking_delta", "thinking": text}
        case "call":
            return {"type": "input_json_delta", "partial_json": text}


def _event(kind: str, /, **fields: Any) -> bytes:
    return named_event(kind, {"type": kind, **fields})
