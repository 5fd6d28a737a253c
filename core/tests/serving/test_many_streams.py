"""Many streams at once: for each, what comes in pieces is what the same request answers whole."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

import pytest

from core.tests.serving.in_process import Served

STREAMS = 64
"""Four times what runs at once; `benchmarks/serving_streams.py` does it with 256 connections."""
GREEDY: dict[str, Any] = {"temperature": 0}


def asked(index: int, *, sampled: bool) -> dict[str, Any]:
    chance = random.Random(index)
    said = f"Count: {index} {index + 1} {index + 2}"
    body = {"max_tokens": chance.randint(1, 24), "ignore_eos": index % 4 == 0, "prompt": said}
    body |= {"messages": [{"role": "user", "content": said}]}
    body |= {"temperature": 1.0, "seed": index, "n": 1 + index % 2} if sampled else GREEDY
    return body | ({"stop": [" 5", "e", str(index + 5)]} if index % 3 == 0 else {})


def whole(answer: Any) -> dict[str, Any]:
    outputs = {each["index"]: each for each in answer["choices"]}
    return {
        "texts": {
            index: (each["text"] if "text" in each else each["message"]["content"] or "")
            for index, each in outputs.items()
        },
        "finish": {index: (each["finish_reason"], each["stop_reason"]) for index, each in outputs.items()},
        "usage": answer["usage"],
    }


def joined(stream: str) -> dict[str, Any]:
    *lines, done = stream.split("\n\n")[:-1]
    assert done == "data: [DONE]"
    *events, last = [json.loads(line.removeprefix("data: ")) for line in lines]
    texts: dict[int, str] = {}
    finish: dict[int, tuple[str, Any]] = {}
    for each in (choice for event in events for choice in event["choices"]):
        assert each["index"] not in finish, "nothing comes after the end"
        text = each["text"] if "text" in each else each["delta"].get("content") or ""
        texts[each["index"]] = texts.get(each["index"], "") + text
        if each["finish_reason"] is not None:
            finish[each["index"]] = (each["finish_reason"], each["stop_reason"])
    assert last["choices"] == []
    return {"texts": texts, "finish": finish, "usage": last["usage"]}


@pytest.mark.parametrize("sampled", [False, True], ids=["greedy", "seeded"])
@pytest.mark.parametrize("path", ["/v1/completions", "/v1/chat/completions"])
def test_streams_add_up_to_whole_answers(inside: Served, path: str, sampled: bool) -> None:
    bodies = [asked(index, sampled=sampled) for index in range(STREAMS)]
    streamed = {"stream": True, "stream_options": {"include_usage": True}}

    async def story() -> None:
        answers = await asyncio.gather(*(inside.http.post(path, json=body) for body in bodies))
        streams = await asyncio.gather(*(inside.http.post(path, json=body | streamed) for body in bodies))
        for body, answer, stream in zip(bodies, answers, streams, strict=True):
            assert joined(stream.text) == whole(answer.json()), body
        assert len({answer.text for answer in answers}) == STREAMS

    inside.run(story())
