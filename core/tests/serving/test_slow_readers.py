"""Clients that ask for a long stream and do not read it: the server keeps one event for them, and what they read at last is all of it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from core.tests.serving.in_process import Served, scope_of

TOKENS = 120
SAID = {"prompt": "Count: 1 2 3", "messages": [{"role": "user", "content": "Count: 1 2 3"}]}
BODY: dict[str, Any] = SAID | {"max_tokens": TOKENS, "ignore_eos": True, "temperature": 0}


class SlowReader:
    """A connection that takes one event, and the next ones when it is told to read on."""

    def __init__(self, server: Served, path: str, body: dict[str, Any]) -> None:
        self._server, self._path = server, path
        self._asked = [
            {"type": "http.request", "body": json.dumps(body | {"stream": True}).encode(), "more_body": False}
        ]
        self.has_begun, self.reads_on = asyncio.Event(), asyncio.Event()
        self.events: list[Any] = []

    async def ask(self) -> None:
        """Until the stream has ended."""
        await self._server.app(scope_of(self._path), self._receive, self._send)

    async def _receive(self) -> Any:
        if self._asked:
            return self._asked.pop()
        return await asyncio.Event().wait()

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.body":
            self.events += [json.loads(line) for line in _data(message["body"])]
            self.has_begun.set()
            await self.reads_on.wait()


def _data(body: bytes) -> list[str]:
    lines = [line.removeprefix("data: ") for line in body.decode().splitlines() if line.startswith("data: ")]
    return [line for line in lines if line != "[DONE]"]


def _text(choice: Any) -> str:
    return str(choice["text"] if "text" in choice else choice.get("delta", choice.get("message"))["content"] or "")


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/chat/completions"])
def test_what_is_not_read_waits_in_one_event(inside: Served, path: str) -> None:
    async def story() -> None:
        whole = (await inside.http.post(path, json=BODY)).json()["choices"][0]
        readers = [SlowReader(inside, path, BODY) for _ in range(4)]
        asking = [asyncio.create_task(reader.ask()) for reader in readers]
        for reader in readers:
            await reader.has_begun.wait()
        await inside.http.post(path, json=BODY)  # began last, so it ends last
        assert inside.engine.num_unfinished_requests == 0
        for reader in readers:
            assert len(reader.events) == 1
            reader.reads_on.set()
        await asyncio.gather(*asking)
        for reader in readers:
            assert len(reader.events) <= 4, "a chat begins and ends with an event of its own"
            assert "".join(_text(event["choices"][0]) for event in reader.events) == _text(whole)
            assert reader.events[-1]["choices"][0]["finish_reason"] == whole["finish_reason"]

    inside.run(story())


def test_who_reads_nothing_and_leaves_frees_everything(inside: Served) -> None:
    async def story() -> None:
        asking = []
        for body in ({}, {"n": 3, "temperature": 1}, {"logprobs": 5}):
            reader = SlowReader(inside, "/v1/completions", BODY | body)
            asking.append(asyncio.create_task(reader.ask()))
            await reader.has_begun.wait()
        for each in asking:
            each.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        assert inside.engine.num_unfinished_requests == 0

    inside.run(story())
