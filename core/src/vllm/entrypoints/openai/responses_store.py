"""Owns the responses that clients may ask for again. Memory is bounded: the oldest that have ended are forgotten first."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec

from vllm.entrypoints.openai.http_errors import ApiError
from vllm.errors import QueueFullError

if TYPE_CHECKING:
    from vllm.entrypoints.openai.responses_input import Item

__all__ = ["ResponseStore", "StoredResponse"]

MAX_RESPONSES = 1000
MAX_BYTES = 64 * 2**20
_encode = msgspec.json.Encoder().encode


@dataclass(slots=True)
class StoredResponse:
    """A response with the items that led to it."""

    response: dict[str, Any]
    items: list[Item]
    """The conversation before its output: what a response that follows it begins with."""
    task: asyncio.Task[None] | None = None
    """What works on it, beside any request."""
    size_bytes: int = 0

    @property
    def has_ended(self) -> bool:
        """Whether it stays as it is."""
        return self.response["status"] != "queued"

    @property
    def conversation(self) -> list[Item]:
        """All items, its own output included."""
        return [*self.items, *self.response["output"]]


class ResponseStore:
    """By id, in the order in which they were last changed."""

    def __init__(self, *, max_responses: int = MAX_RESPONSES, max_bytes: int = MAX_BYTES) -> None:
        self._max_responses, self._max_bytes = max_responses, max_bytes
        self._stored: dict[str, StoredResponse] = {}
        self._size_bytes = 0

    def put(self, stored: StoredResponse) -> None:
        """Keep it, or its new state. What has become too much is forgotten, which may be itself.

        Raises QueueFullError for one to be worked on where those that are already are too many.
        """
        self._forget(stored.response["id"])
        if not stored.has_ended and sum(not each.has_ended for each in self._stored.values()) >= self._max_responses:
            raise QueueFullError(f"{self._max_responses} responses are being worked on in the background.")
        stored.size_bytes = len(_encode(stored.conversation)) + len(_encode(stored.response))
        self._stored[stored.response["id"]] = stored
        self._size_bytes += stored.size_bytes
        self._make_room()

    def get(self, response_id: str, *, parameter: str = "response_id") -> StoredResponse:
        """Raises the 404 where it is not, or not any more."""
        stored = self._stored.get(response_id)
        if stored is None:
            message = f"There is no response `{response_id}`: it was not stored, or it was forgotten to make room."
            raise ApiError(HTTPStatus.NOT_FOUND, message, parameter=parameter)
        return stored

    def _make_room(self) -> None:
        while self._size_bytes > self._max_bytes or len(self._stored) > self._max_responses:
            oldest = next((key for key, each in self._stored.items() if each.has_ended), None)
            if oldest is None:
                return
            self._forget(oldest)

    def _forget(self, response_id: str) -> None:
        stored = self._stored.pop(response_id, None)
        if stored is not None:
            self._size_bytes -= stored.size_bytes
