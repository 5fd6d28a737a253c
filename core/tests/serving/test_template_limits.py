"""Chat templates that never end, or fill the memory: given up with a sentence, and nobody else waits for them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import psutil
import pytest

from core.tests.serving.in_process import Served, scope_of, served
from vllm.entrypoints.openai import template_helpers
from vllm.entrypoints.openai.template_helpers import start_template_helper

LOOP = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
GROW = (
    "{% set ns = namespace(a='x' * 1000) %}{% for i in range(30) %}{% set ns.a = ns.a ~ ns.a %}{% endfor %}{{ ns.a }}"
)
LONG = "{% for a in range(70000) %}{{ 'x' * 1000 }}{% endfor %}"
DEEP = "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}"
CHAT = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 2}


@pytest.fixture
def trusting(inside: Served, monkeypatch: pytest.MonkeyPatch) -> Served:
    monkeypatch.setenv("VLLM_CHAT_TEMPLATE_RENDER_TIMEOUT", "2")
    return inside.with_args(trust_request_chat_template=True)


@pytest.mark.parametrize(
    ("template", "words"),
    [
        (LOOP, "it takes longer than 2 s"),
        (GROW, "it takes more "),
        (LONG, "it gives more than 67,108,864 characters"),
        (DEEP, "too deep"),
        ("{{ 7 ** (7 ** 9) }}", "it takes longer than 2 s"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
    ],
)
def test_a_template_beyond_its_limits_is_refused(trusting: Served, template: str, words: str) -> None:
    answer = trusting.post("/v1/chat/completions", CHAT | {"chat_template": template})
    assert (answer.status_code, words in answer.json()["error"]["message"]) == (400, True), answer.text


def test_chats_with_the_models_template_do_not_wait(trusting: Served) -> None:
    async def story() -> None:
        ask = trusting.http.post
        looping = [asyncio.create_task(ask("/v1/chat/completions", json=CHAT | {"chat_template": LOOP})) for _ in "abc"]
        await asyncio.sleep(0)
        good = [await ask("/v1/chat/completions", json=CHAT) for _ in "abc"]
        assert [answer.status_code for answer in good] == [200] * 3
        assert not all(task.done() for task in looping)
        assert [answer.status_code for answer in await asyncio.gather(*looping)] == [400] * 3

    trusting.run(story())


def test_too_many_that_bring_templates_are_told_to_come_again(
    trusting: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(template_helpers, "MAX_FOREIGN", 2)

    async def story() -> None:
        async def ask(template: str | None) -> Any:
            return await trusting.http.post("/v1/chat/completions", json=CHAT | {"chat_template": template})

        looping = [asyncio.create_task(ask(LOOP)) for _ in range(2)]
        while template_helpers._renderers(True).conversations < 2:
            await asyncio.sleep(0)
        refused, own = await ask("Hello"), await ask(None)
        assert (refused.status_code, own.status_code) == (503, 200)
        assert int(refused.headers["retry-after"]) > 0
        assert refused.json()["error"]["message"].startswith("2 conversations with chat templates of their own wait")
        assert [answer.status_code for answer in await asyncio.gather(*looping)] == [400] * 2
        assert (await ask("Hello")).status_code == 200

    trusting.run(story())


LOOPING = CHAT | {"chat_template_kwargs": {"chat_template": LOOP}}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", LOOPING),
        ("/v1/chat/completions", LOOPING | {"stream": True}),
        ("/v1/chat/completions/batch", LOOPING | {"messages": [CHAT["messages"]] * 2}),
        ("/v1/messages", LOOPING),
        ("/v1/messages/count_tokens", LOOPING),
        ("/tokenize", LOOPING),
    ],
)
def test_who_leaves_does_not_wait_for_his_template(
    trusting: Served, monkeypatch: pytest.MonkeyPatch, path: str, body: dict[str, Any]
) -> None:
    """Whoever was rendered for before anybody looked whether he is still there would be refused (400)."""
    monkeypatch.setenv("VLLM_CHAT_TEMPLATE_RENDER_TIMEOUT", "0.5")
    told: list[Any] = [
        {"type": "http.disconnect"},
        {"type": "http.request", "body": json.dumps(body).encode(), "more_body": False},
    ]
    statuses: list[int] = []

    async def receive() -> Any:
        return told.pop() if len(told) > 1 else told[0]

    async def send(message: Any) -> None:
        statuses.append(message.get("status"))

    trusting.run(trusting.app(scope_of(path), receive, send))
    assert statuses[0] == 499
    assert template_helpers._renderers(True).conversations == 0


def test_a_servers_own_template_has_the_same_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_CHAT_TEMPLATE_RENDER_TIMEOUT", "0.2")
    with served(chat_template=LOOP) as server:
        answer = server.post("/v1/chat/completions", CHAT)
        assert (answer.status_code, "it takes longer than 0.2 s" in answer.text) == (400, True)
        assert server.post("/v1/completions", {"prompt": "Hello", "max_tokens": 1}).status_code == 200


def test_no_process_is_started_ahead_where_there_are_no_chats() -> None:
    with served(skip_tokenizer_init=True) as server:
        before = psutil.Process().children()
        server.run(start_template_helper(server.engine))
        assert psutil.Process().children() == before


def test_a_process_is_started_ahead_where_there_may_be_chats() -> None:
    with served() as server:
        before = psutil.Process().children()
        server.run(start_template_helper(server.engine))
        assert len(psutil.Process().children()) == len(before) + 1
