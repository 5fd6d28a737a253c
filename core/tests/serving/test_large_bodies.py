"""Large bodies are read beside the event loop: with the same meaning, the same errors, and while others are answered."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import pytest

from core.tests.serving.in_process import Served
from vllm.entrypoints.openai import large_bodies

FILLER = {"user": "x" * 70_000}
HELLO: dict[str, Any] = {"prompt": "Count: 1 2 3", "max_tokens": 3, "temperature": 0}
JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    "content",
    [
        json.dumps(HELLO),
        json.dumps(HELLO | {"temperature": "0.5", "max_tokens": "3", "seed": 1}),
        json.dumps(HELLO | {"max_tokens": "many"}),
        json.dumps(HELLO | {"prompt": {"a": 1}}),
        json.dumps(HELLO | {"temperature": float("nan")}),
        json.dumps(HELLO | {"unknown": [1, {"a": None}]}),
        json.dumps(HELLO | {"seed": 10**30}),
        json.dumps(HELLO)[:-1],
        json.dumps(HELLO | {"unknown": json.loads("[" * 500 + "]" * 500)}),
        json.dumps(HELLO | {"prompt": "\ud83d\ude00"}),
        json.dumps(HELLO | {"prompt": "\ud83d"}),
        json.dumps([HELLO]),
    ],
)
def test_a_large_body_means_what_a_small_one_means(inside: Served, content: str) -> None:
    """White space makes it large."""

    def answer(text: str) -> tuple[int, Any]:
        got = inside.run(inside.http.post("/v1/completions", content=text.encode(), headers=JSON))
        told = got.json()
        return got.status_code, told["error"] if got.status_code != 200 else told["choices"]

    small, large = answer(content), answer(" " * 70_000 + content)
    if "JSON" not in str(small):  # whose message tells the place in the body
        assert large == small
    assert large[0] == small[0]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1}),
        ("/v1/messages", {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1}),
        ("/v1/responses", {"input": "Hello", "max_output_tokens": 16}),
        ("/tokenize", {"prompt": "Hello"}),
        ("/invocations", HELLO),
    ],
)
def test_every_route_takes_one(inside: Served, path: str, body: dict[str, Any]) -> None:
    padded = " " * 70_000 + json.dumps(body)
    answer = inside.run(inside.http.post(path, content=padded.encode(), headers=JSON))
    assert answer.status_code == 200, answer.text


def test_fields_that_a_route_passes_on_are_kept(inside: Served) -> None:
    """/tokenize takes a chat's fields without naming them."""
    chat = {"messages": [{"role": "user", "content": "Hello"}], "add_generation_prompt": False}
    small, large = (inside.post("/tokenize", chat | more).json()["tokens"] for more in ({}, FILLER))
    assert large == small


def test_others_are_answered_while_a_body_is_read(inside: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, may_go_on = threading.Event(), threading.Event()
    read = large_bodies._read

    def slowly(*args: Any) -> Any:
        reading.set()
        assert may_go_on.wait(60)
        return read(*args)

    monkeypatch.setattr(large_bodies, "_read", slowly)

    async def story() -> None:
        large = asyncio.create_task(inside.http.post("/v1/completions", json=HELLO | FILLER))
        await asyncio.to_thread(reading.wait, 60)
        assert (await inside.http.post("/v1/completions", json=HELLO)).status_code == 200
        assert not large.done()
        may_go_on.set()
        assert (await large).status_code == 200

    inside.run(story())
