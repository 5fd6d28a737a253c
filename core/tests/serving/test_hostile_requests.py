"""Requests made to hurt: bytes that are no text, ids without end, more conversations than one may ask for; and a restart that fails."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, cast

import pytest

from core.tests.serving.in_process import Served, scope_of
from vllm.entrypoints.openai.batch import answers_to
from vllm.entrypoints.openai.lifecycle import _Life
from vllm.entrypoints.openai.listener import Listener, open_listener
from vllm.entrypoints.openai.prompts import completion_prompts
from vllm.entrypoints.openai.protocol.completions import CompletionRequest
from vllm.entrypoints.openai.responses_store import ResponseStore, StoredResponse
from vllm.entrypoints.openai.server_args import ServerArgs
from vllm.entrypoints.openai.server_state import ServerState
from vllm.errors import EngineDeadError, QueueFullError

BODIES: dict[str, dict[str, Any]] = {
    "/v1/completions": {"prompt": "\ud800", "max_tokens": 1},
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "\ud800"}], "max_tokens": 1},
    "/v1/responses": {"input": "\ud800", "max_output_tokens": 1},
    "/v1/messages": {"messages": [{"role": "user", "content": "\ud800"}], "max_tokens": 1},
    "/tokenize": {"prompt": "\ud800"},
}
WRITTEN: dict[str, Callable[[Any], bytes]] = {
    "as UTF-8 would": lambda body: json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass"),
    "an escape in UTF-16": lambda body: json.dumps(body).encode("utf-16-le"),
    "an escape in UTF-32": lambda body: json.dumps(body).encode("utf-32"),
}


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("written", WRITTEN)
def test_half_a_character_is_refused_however_it_is_written(inside: Served, path: str, written: str) -> None:
    content = WRITTEN[written](BODIES[path])
    answer = inside.run(inside.http.post(path, content=content, headers={"Content-Type": "application/json"}))
    assert answer.status_code == 400, answer.text
    assert "U+D800" in answer.text


@pytest.mark.parametrize("given", ["x" * 257, "one\nINFO two", "\x1b[31m"])
def test_an_id_that_would_spoil_the_log_is_refused(inside: Served, given: str) -> None:
    answer = inside.post("/v1/completions", {"prompt": "Hello", "max_tokens": 1, "request_id": given})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "request_id")


def test_a_batch_of_conversations_is_bounded(inside: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_MAX_COMPLETION_PROMPTS", "2")
    talk = [{"role": "user", "content": "Hello"}]
    statuses = [
        inside.post("/v1/chat/completions/batch", {"messages": [talk] * count, "max_tokens": 1}).status_code
        for count in (2, 3)
    ]
    assert statuses == [200, 400]


def test_a_line_that_nests_too_deep_does_not_end_a_batch(inside: Served) -> None:
    good = {"custom_id": "b", "method": "POST", "url": "/v1/completions", "body": {"prompt": "Hello", "max_tokens": 1}}
    deep = json.dumps(good | {"body": "DEEP"}).replace('"DEEP"', '{"a": ' * 100_000)
    lines = [deep.encode(), json.dumps(good).encode()]

    async def story() -> list[bool]:
        return [is_good async for _, is_good in answers_to(lines, inside.app, 2)]

    assert inside.run(story()) == [False, True]


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/chat/completions", "/v1/responses", "/v1/messages"])
def test_a_client_that_goes_within_its_body_is_no_failure(
    inside: Served, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    said = [{"type": "http.request", "body": b'{"prompt": ', "more_body": True}, {"type": "http.disconnect"}]
    statuses: list[int] = []

    async def receive() -> Any:
        return said.pop(0)

    async def send(message: Any) -> None:
        statuses.append(message.get("status"))

    inside.run(inside.app(scope_of(path), receive, send))
    assert statuses[0] == 499
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_many_short_texts_leave_the_loop_to_others(inside: Served) -> None:
    """Tokenised one by one here: the engine is not asked to do it."""
    body = CompletionRequest(prompt=["Hello"] * 50, add_special_tokens=False)
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def story() -> None:
        other = asyncio.create_task(others())
        assert len(await completion_prompts(body, inside.engine)) == 50
        other.cancel()

    inside.run(story())
    assert turns >= 49


def test_a_response_that_has_ended_is_kept_beside_many_that_have_not() -> None:
    def stored(name: str, status: str) -> StoredResponse:
        return StoredResponse({"id": name, "status": status, "output": []}, [])

    store = ResponseStore(max_responses=1)
    store.put(stored("works", "queued"))
    with pytest.raises(QueueFullError):
        store.put(stored("works too", "queued"))
    store.put(stored("ended", "completed"))  # there is no room for it, which is no error
    assert not store.get("works").has_ended


class _DeadEngine:
    """Died before the server ran."""

    errored, num_unfinished_requests = True, 0

    async def wait_until_dead(self) -> BaseException:
        return EngineDeadError("gone")

    def shutdown(self) -> None:
        pass


def test_a_restart_that_fails_in_an_unforeseen_way_ends_the_server(inside: Served) -> None:
    def no_memory(_begun: object) -> Any:
        raise OSError("Cannot allocate memory")

    args = ServerArgs(host="127.0.0.1", port=0, restart_engine=1)
    listener: Listener = open_listener(args)
    state = ServerState(cast("Any", _DeadEngine()), args)

    async def story() -> int:
        return await asyncio.wait_for(_Life(state, inside.app, listener, no_memory).live(), 60)

    try:
        assert asyncio.run(story()) == 1
    finally:
        listener.close()
