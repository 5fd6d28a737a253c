"""One request of sixteen makes the engine's steps raise: its client hears of it, the fifteen others never do."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from core.tests.serving.spawned import Spawned, spawned

pytestmark = pytest.mark.alone

BODY = {"max_tokens": 100, "ignore_eos": True, "temperature": 0, "stream": True}
TROUBLE = {"vllm_xargs": {"breaks_after_tokens": 20}}


def streamed(server: Spawned, body: dict[str, Any]) -> list[Any]:
    """The events."""
    with server.client() as client:
        lines = client.post("/v1/completions", json=BODY | body).text.splitlines()
    assert lines[-2] == "data: [DONE]"
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-2] if line]


def text(events: list[Any]) -> str:
    return "".join(event["choices"][0]["text"] for event in events)


@pytest.mark.parametrize("scheduling", ["--no-async-scheduling", "--async-scheduling"])
def test_only_its_own_client_hears_of_it(scheduling: str) -> None:
    flags = ("--logits-processors", "core.tests.serving.breaking_processor.Breaks", scheduling)
    prompts = [f"Count: {number} {number + 1} " for number in range(15)]
    with spawned(*flags) as server, ThreadPoolExecutor(16) as clients:
        alone = [text(streamed(server, {"prompt": prompt})) for prompt in prompts[:3]]
        bodies = [{"prompt": prompt} for prompt in prompts[:7]] + [{"prompt": "Count: 3 4 "} | TROUBLE]
        bodies += [{"prompt": prompt} for prompt in prompts[7:]]
        answers = list(clients.map(lambda body: streamed(server, body), bodies))
        *before, error = answers.pop(7)
        assert error["error"]["type"] == "InternalServerError" and error["error"]["code"] == 500
        assert "secret" not in error["error"]["message"]
        assert text(before) and alone[0] != text(before)
        assert [text(answer) for answer in answers[:3]] == alone
        assert {answer[-1]["choices"][0]["finish_reason"] for answer in answers} == {"length"}
        with server.client() as client:
            assert client.get("/health").status_code == 200
            metrics = client.get("/metrics").text

        values = {line.split("{")[0]: float(line.rsplit(" ", 1)[1]) for line in metrics.splitlines() if "{" in line}
        assert values["vllm:num_requests_running"] == values["vllm:kv_cache_usage_perc"] == 0
        assert values["vllm:num_failed_steps_total"] > 0
        assert server.log.count("Traceback (most recent call last)") == 1
