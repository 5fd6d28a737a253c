"""Large bodies are read beside the event loop: with the same meaning, the same errors, and while others are answered."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import pytest
from pydantic import ValidationError

from core.tests.serving.in_process import Served
from vllm.engine.input_processor import InputProcessor
from vllm.entrypoints.openai import completions, large_bodies
from vllm.entrypoints.openai.protocol.chat import ChatBatchRequest, ChatRequest
from vllm.entrypoints.openai.protocol.common import Request
from vllm.entrypoints.openai.protocol.completions import CompletionRequest
from vllm.entrypoints.openai.tokenize_routes import DetokenizeRequest

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


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/messages"])
def test_lists_and_objects_are_bounded(inside: Served, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    """Of large bodies; half of what is counted here are objects."""
    monkeypatch.setattr(large_bodies, "MAX_CONTAINERS", 10)
    talk = {"messages": [{"role": "user", "content": "Hello"}]}

    def status(containers: int) -> int:
        """Four are there already."""
        content = json.dumps(HELLO | talk | {"more": [[], {}] * ((containers - 4) // 2)})
        return inside.run(inside.http.post(path, content=(" " * 70_000 + content).encode(), headers=JSON)).status_code

    assert [status(10), status(12)] == [200, 400]


@pytest.mark.parametrize(
    ("owner", "name", "many", "status"),
    [
        (InputProcessor, "process", {"stop_token_ids": [7] * 5000}, 200),
        (InputProcessor, "process", {"prompt": [7] * 5000}, 400),
        (completions, "_params", {"stop_token_ids": [7] * 40_000}, 200),
    ],
)
def test_others_are_answered_while_many_ids_are_looked_through(
    inside: Served, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, many: dict[str, Any], status: int
) -> None:
    checking, may_go_on = threading.Event(), threading.Event()
    check, on_loop = getattr(owner, name), threading.get_ident()

    def slowly(*args: Any, **kwargs: Any) -> Any:
        if threading.get_ident() != on_loop:
            checking.set()
            assert may_go_on.wait(60)
        return check(*args, **kwargs)

    monkeypatch.setattr(owner, name, slowly)

    async def story() -> None:
        asked = asyncio.create_task(inside.http.post("/v1/completions", json=HELLO | many))
        assert await asyncio.to_thread(checking.wait, 60)
        assert (await inside.http.post("/v1/completions", json=HELLO)).status_code == 200
        assert not asked.done()
        may_go_on.set()
        assert (await asked).status_code == status

    inside.run(story())


@pytest.mark.parametrize(
    ("model", "body", "most"),
    [
        (CompletionRequest, {"prompt": [1.5] * 1000}, 4),
        (CompletionRequest, {"prompt": [[1.5] * 1000] * 10}, 4),
        (CompletionRequest, {"stop_token_ids": ["x"] * 1000}, 1),
        (CompletionRequest, {"logit_bias": {str(token): "x" for token in range(1000)}}, 1),
        (ChatRequest, {"messages": [1] * 1000}, 1),
        (ChatRequest, {"messages": [], "tools": [{"function": 1}] * 1000}, 1),
        (ChatBatchRequest, {"messages": [[1] * 1000] * 10}, 1),
        (DetokenizeRequest, {"tokens": [-1] * 1000}, 1),
    ],
)
def test_a_list_is_given_up_at_its_first_mistake(model: type[Request], body: dict[str, Any], most: int) -> None:
    """A union tells one for each form that it tried: two million wrong ids took two minutes, and the event loop with them."""
    with pytest.raises(ValidationError) as refused:
        model.model_validate(body)
    assert refused.value.error_count() <= most


def test_ids_beyond_the_context_are_refused_before_anybody_looks_at_them(inside: Served) -> None:
    """Else the wrong one would be told."""
    answer = inside.post("/v1/completions", HELLO | {"prompt": [-1] * 600})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, "input_tokens")
    assert "your prompt contains 600 tokens" in error["message"]
