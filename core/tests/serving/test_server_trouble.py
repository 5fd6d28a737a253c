"""What a server does when too much is asked, when data nests without end, and when a step breaks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from core.tests.serving.in_process import Served, served
from vllm.sampling.logits_processors_interface import LogitsProcessor

HELLO = {"prompt": "Count: 1 2 3", "temperature": 0}
LONG = HELLO | {"max_tokens": 120, "ignore_eos": True}


def nested(depth: int, opening: str, closing: str, inside: str = "1") -> Any:
    return json.loads(opening * depth + inside + closing * depth)


@pytest.mark.parametrize("depth", [100, 450])
@pytest.mark.parametrize(
    "field",
    [
        "structured_outputs",
        "structured_text",
        "response_format",
        "vllm_xargs",
        "tools",
        "chat_template_kwargs",
        "messages",
    ],
)
def test_data_that_nests_deep_is_no_failure_of_the_server(inside: Served, field: str, depth: int) -> None:
    schema = nested(depth, '{"properties":{"a":', "}}", "{}")
    bodies: dict[str, Any] = {
        "structured_outputs": {"structured_outputs": {"json": schema}},
        "structured_text": {"structured_outputs": {"json": '{"items":' * 100 * depth + "{}" + "}" * 100 * depth}},
        "response_format": {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}},
        "vllm_xargs": {"vllm_xargs": {"a": schema}},
        "tools": {
            "tools": [{"type": "function", "function": {"name": "f", "parameters": schema}}],
            "tool_choice": "none",
        },
        "chat_template_kwargs": {"chat_template_kwargs": {"a": schema}},
        "messages": {"messages": [{"role": "user", "content": "x", "a": schema}]},
    }
    chat = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1} | bodies[field]
    answer = inside.post("/v1/chat/completions", chat)
    assert answer.status_code in (200, 400), answer.text
    assert len(answer.text) < 10_000


def test_what_is_refused_is_not_sent_back_at_full_length(inside: Served) -> None:
    answer = inside.post("/v1/completions", HELLO | {"structured_outputs": {"regex": "(" * 100_000}})
    assert (answer.status_code, len(answer.text) < 10_000) == (400, True)


@pytest.fixture(scope="module")
def narrow() -> Iterator[Served]:
    """Two run, two wait."""
    with served(max_num_seqs=2, max_num_queued_reqs=2) as one:
        yield one


@pytest.mark.parametrize("stream", [False, True])
def test_overload_is_refused_and_hurts_nobody_else(narrow: Served, stream: bool) -> None:
    async def story() -> None:
        texts = [(await narrow.http.post("/v1/completions", json=LONG)).json()["choices"][0]["text"]]
        busy = [asyncio.create_task(narrow.http.post("/v1/completions", json=LONG)) for _ in range(4)]
        while narrow.engine.num_unfinished_requests < 4:
            await asyncio.sleep(0)
        late = await asyncio.gather(
            *(narrow.http.post("/v1/completions", json=LONG | {"stream": stream}) for _ in range(3))
        )
        for answer in late:
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            told = answer.json()["error"]
            assert told["type"] == "ServiceUnavailableError"
            assert "--max-num-queued-reqs permits 2" in told["message"]
            assert "Raised by" not in told["message"]
        texts += [(await each).json()["choices"][0]["text"] for each in busy]
        assert len(set(texts)) == 1
        assert (await narrow.http.post("/v1/completions", json=HELLO)).status_code == 200

    narrow.run(story())


class Breaks(LogitsProcessor):
    """A plugin with a bug."""

    @classmethod
    def validate_params(cls, params: Any) -> None:
        """Any will do."""

    def __init__(self, *_args: Any) -> None:
        """Nothing to keep."""

    def is_argmax_invariant(self) -> bool:
        return False

    def update_state(self, batch_update: Any) -> None:
        """Nothing to follow."""

    def apply(self, logits: Any) -> Any:
        raise RuntimeError("secret words from /some/where.py")


def test_a_step_that_breaks_ends_the_engine_in_order() -> None:
    with served(logits_processors=[Breaks]) as server:

        async def story() -> list[httpx.Response]:
            asking = [server.http.post("/v1/completions", json=HELLO | {"stream": stream}) for stream in (False, True)]
            return await asyncio.gather(*asking)

        for answer in server.run(story()):
            assert answer.status_code == 500
            assert answer.json()["error"]["message"] == "The engine has stopped; requests cannot be answered any more."
        assert server.run(server.http.get("/health")).status_code == 503
        late = server.post("/v1/completions", HELLO)
        assert (late.status_code, "secret" in late.text) == (500, False)
