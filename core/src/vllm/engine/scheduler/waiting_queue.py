"""Owns the requests that wait for a slot, in the order in which they will get one."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from vllm.engine.scheduler.request import Request

__all__ = ["WaitingQueue"]


class WaitingQueue:
    """A heap over `Request.order`; a preempted request finds its old place, before all that came after it."""

    def __init__(self) -> None:
        self._heap: list[tuple[tuple[float, ...], Request]] = []
        self._alive: dict[str, Request] = {}
        """By request id. An entry of the heap that is not in here was taken out and is skipped."""
        self.num_tokens = 0
        """Of all prompts together."""
        self.only: frozenset[str] | None = None
        """While some are on trial: only these may come out, the others stay where they are."""

    def __len__(self) -> int:
        return len(self._alive)

    def __iter__(self) -> Iterator[Request]:
        """In no order."""
        return iter(self._alive.values())

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._alive

    def find(self, request_id: str) -> Request:
        """One that waits."""
        return self._alive[request_id]

    def push(self, request: Request) -> None:
        """Queue a request."""
        self._alive[request.message.request_id] = request
        self.num_tokens += request.num_prompt_tokens
        heapq.heappush(self._heap, (request.order, request))

    @property
    def has_next(self) -> bool:
        """Whether there is a `head`."""
        return bool(self._alive) if self.only is None else not self.only.isdisjoint(self._alive)

    def head(self) -> Request:
        """The next request; there is one."""
        if self.only is not None:
            return min(
                (self._alive[each] for each in self.only & self._alive.keys()), key=lambda request: request.order
            )
        while self._alive.get(self._heap[0][1].message.request_id) is not self._heap[0][1]:
            heapq.heappop(self._heap)
        return self._heap[0][1]

    def pop(self) -> Request:
        """Take the next request out; there is one."""
        request = self.head()
        if self.only is None:
            heapq.heappop(self._heap)
        del self._alive[request.message.request_id]
        self.num_tokens -= request.num_prompt_tokens
        return request

    def discard(self, request_id: str) -> Request | None:
        """Take one request out, wherever it stands; None if it does not wait."""
        request = self._alive.pop(request_id, None)
        self.num_tokens -= 0 if request is None else request.num_prompt_tokens
        return request
