"""What a server does when too much is asked, when data nests without end, and when a step breaks."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from core.tests.serving.in_process import Served, served
from vllm.engine.scheduler.isolation import MOST_IN_A_ROW
from vllm_cpu_ref.platform import CpuRefPlatform

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


def test_messages_that_nest_deep_are_no_failure_of_the_server(inside: Served) -> None:
    """Anthropic's route has errors of its own form."""
    schema = nested(450, '{"properties":{"a":', "}}", "{}")
    tools = [{"name": "f", "input_schema": schema}]
    said = {"role": "user", "content": "x"}
    for body in (
        {"messages": [said], "tools": tools, "tool_choice": {"type": "none"}},
        {"messages": [said | {"a": schema}]},
    ):
        answer = inside.post("/v1/messages", {"max_tokens": 1} | body)
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


TROUBLE = LONG | {"max_tokens": 40, "vllm_xargs": {"breaks_after_tokens": 5}}
SENTENCE = "The request failed while it was generated; the log says why."
BREAKS = {"logits_processors": ("core.tests.serving.breaking_processor.Breaks",)}


@pytest.mark.parametrize("stream", [False, True])
def test_a_request_that_breaks_its_steps_fails_alone(stream: bool) -> None:
    """Among streams; beside it the same prompt without the trouble."""
    with served(**BREAKS) as server:
        calm = server.post("/v1/completions", LONG).json()["choices"][0]["text"]

        async def story() -> tuple[httpx2.Response, list[str]]:
            ask = server.http.post
            others = [asyncio.create_task(ask("/v1/completions", json=LONG | {"stream": True})) for _ in range(6)]
            bad = await ask("/v1/completions", json=TROUBLE | {"stream": stream})
            return bad, [text_of(await other) for other in others]

        bad, texts = server.run(story())
        assert texts == [calm] * 6
        *_, error, end = events(bad) if stream else (bad.text, "[DONE]")
        told = json.loads(error)["error"]
        assert (told["code"], told["type"], told["message"], end) == (500, "InternalServerError", SENTENCE, "[DONE]")
        assert bad.status_code == (200 if stream else 500)
        assert "secret" not in bad.text
        assert server.run(server.http.get("/health")).status_code == 200
        failed_steps = re.search(
            r"^vllm:num_failed_steps_total\{.*\} (\S+)", server.run(server.http.get("/metrics")).text, re.M
        )
        assert failed_steps is not None and float(failed_steps[1]) >= 3


def events(answer: httpx2.Response) -> list[str]:
    return [line.removeprefix("data: ") for line in answer.text.splitlines() if line]


def text_of(answer: httpx2.Response) -> str:
    return "".join(json.loads(each)["choices"][0]["text"] for each in events(answer)[:-1])


def test_when_every_step_breaks_the_engine_ends_in_order() -> None:
    at_once = HELLO | {"vllm_xargs": {"breaks_after_tokens": 0}}
    with served(**BREAKS) as server:
        prompts = [
            f"Hello {number}" for number in range(MOST_IN_A_ROW + 1)
        ]  # one prompt again and again would prove nothing
        answers = [server.post("/v1/completions", at_once | {"prompt": prompt}) for prompt in prompts]
        assert {answer.status_code for answer in answers} == {500}
        told = [answer.json()["error"]["message"] for answer in answers]
        stopped = "The engine has stopped; requests cannot be answered any more."
        assert told == [SENTENCE] * (MOST_IN_A_ROW - 1) + [stopped] * 2
        assert server.run(server.http.get("/health")).status_code == 503


def test_a_step_that_breaks_where_the_platform_promises_nothing_ends_the_engine_in_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(CpuRefPlatform, "survives", lambda platform, error: False)
    with served(**BREAKS) as server:

        async def story() -> list[httpx2.Response]:
            asking = [server.http.post("/v1/completions", json=TROUBLE | {"stream": each}) for each in (False, True)]
            return await asyncio.gather(*asking)

        whole, stream = server.run(story())
        assert whole.json()["error"]["message"] == "The engine has stopped; requests cannot be answered any more."
        assert "has stopped" in events(stream)[-2]
        assert server.run(server.http.get("/health")).status_code == 503
        late = server.post("/v1/completions", HELLO)
        assert (late.status_code, "secret" in late.text) == (500, False)
