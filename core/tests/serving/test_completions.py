"""/v1/completions through the openai client: what is streamed adds up to what is answered whole."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import openai
import pytest

from core.tests.serving.in_process import Served, served

COUNT = "Count: 17 18 19"
CONTINUED = " 20 21 22 23 24 25"
"""What the tiny model makes of COUNT in 12 tokens."""


@pytest.fixture
def server(inside: Served) -> Served:
    return inside


def complete(server: Served, **body: Any) -> Any:
    given: dict[str, Any] = {"model": "tiny", "temperature": 0} | body
    return server.run(server.openai.completions.create(**given))


def chunks_of(server: Served, **body: Any) -> list[Any]:
    async def story() -> list[Any]:
        given: dict[str, Any] = {"model": "tiny", "temperature": 0, "stream": True} | body
        return [chunk async for chunk in await server.openai.completions.create(**given)]

    chunks: list[Any] = server.run(story())
    return chunks


def joined(chunks: list[Any]) -> dict[int, str]:
    texts: dict[int, str] = {}
    for choice in (choice for chunk in chunks for choice in chunk.choices):
        texts[choice.index] = texts.get(choice.index, "") + choice.text
    return texts


def test_a_prompt_is_continued(server: Served) -> None:
    answer = complete(server, prompt=COUNT, max_tokens=12)
    (choice,) = answer.choices
    assert (choice.text, choice.finish_reason, choice.index) == (CONTINUED, "length", 0)
    assert (answer.object, answer.model, answer.id[:5]) == ("text_completion", "tiny", "cmpl-")
    assert answer.usage.model_dump(exclude_none=True) == {
        "prompt_tokens": 11,
        "completion_tokens": 12,
        "total_tokens": 23,
    }


def test_sixteen_tokens_by_default(server: Served) -> None:
    assert complete(server, prompt=COUNT, extra_body={"ignore_eos": True}).usage.completion_tokens == 16


def test_several_prompts_and_outputs_are_numbered(server: Served) -> None:
    body: dict[str, Any] = {"n": 2, "temperature": 1.0, "seed": 7, "max_tokens": 8}
    prompts = [COUNT, "Count: 5 6 7"]
    whole = complete(server, prompt=prompts, **body)
    assert [choice.index for choice in whole.choices] == [0, 1, 2, 3]
    assert whole.usage.completion_tokens <= 4 * 8
    texts = [choice.text for choice in whole.choices]
    alone = [[c.text for c in complete(server, prompt=prompt, **body).choices] for prompt in prompts]
    assert texts == [*alone[0], *alone[1]]
    chunks = chunks_of(server, prompt=prompts, stream_options={"include_usage": True}, **body)
    assert joined(chunks) == dict(enumerate(texts))
    assert chunks[-1].usage == whole.usage
    assert chunks[-1].choices == []


def test_token_ids_are_a_prompt(server: Served) -> None:
    ids = server.engine.get_tokenizer().encode(COUNT)
    assert complete(server, prompt=ids, max_tokens=12).choices[0].text == CONTINUED
    assert complete(server, prompt=[ids, ids], max_tokens=12).choices[1].text == CONTINUED


def test_stream_and_whole_agree_in_text_logprobs_and_usage(server: Served) -> None:
    body: dict[str, Any] = {"prompt": COUNT, "max_tokens": 12, "logprobs": 2, "stop": [" 22"], "echo": True}
    whole = complete(server, **body)
    chunks = chunks_of(
        server, **body, stream_options={"include_usage": True}, extra_body={"stream_options": {"include_usage": True}}
    )
    assert joined(chunks) == {0: whole.choices[0].text} == {0: COUNT + " 20 21"}
    streamed: dict[str, list[Any]] = {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
    for chunk in chunks[:-1]:
        for name, values in streamed.items():
            values += getattr(chunk.choices[0].logprobs, name)
    assert streamed == whole.choices[0].logprobs.model_dump()
    assert chunks[-1].usage == whole.usage
    assert {chunk.usage for chunk in chunks[:-1]} == {None}
    last = chunks[-2].choices[0]
    assert (last.finish_reason, last.stop_reason) == (whole.choices[0].finish_reason, " 22") == ("stop", " 22")


def test_logprobs_of_the_tokens(server: Served) -> None:
    found = complete(server, prompt=COUNT, max_tokens=2, logprobs=2).choices[0].logprobs
    assert found.tokens == [" 2", "0"]
    assert found.text_offset == [0, 2]
    for token, value, top in zip(found.tokens, found.token_logprobs, found.top_logprobs, strict=True):
        assert len(top) == 2
        assert max(top.values()) == top[token] == value < 0


def test_echo_shows_the_prompt(server: Served) -> None:
    choice = complete(server, prompt=COUNT, max_tokens=2, echo=True, logprobs=1).choices[0]
    assert choice.text == COUNT + " 20"
    assert choice.logprobs.tokens[0] == "<|endoftext|>"
    assert choice.logprobs.token_logprobs[0] is None
    assert len(choice.logprobs.tokens) == 11 + 2
    assert all(value < 0 for value in choice.logprobs.token_logprobs[1:])
    only = complete(server, prompt=COUNT, max_tokens=0, echo=True, logprobs=1)
    assert only.choices[0].text == COUNT
    assert only.choices[0].logprobs.token_logprobs == choice.logprobs.token_logprobs[:11]
    assert only.usage.completion_tokens == 0


def test_ids_of_tokens(server: Served) -> None:
    answer = server.post("/v1/completions", {"prompt": COUNT, "max_tokens": 2, "temperature": 0, "return_token_ids": 1})
    (choice,) = answer.json()["choices"]
    tokenizer = server.engine.get_tokenizer()
    assert choice["prompt_token_ids"] == tokenizer.encode(COUNT)
    assert tokenizer.decode(choice["token_ids"]) == " 20"
    named = complete(
        server, prompt=COUNT, max_tokens=1, logprobs=0, extra_body={"return_tokens_as_token_ids": True}
    ).choices[0]
    assert named.logprobs.tokens == [f"token_id:{choice['token_ids'][0]}"]


def test_prompt_logprobs(server: Served) -> None:
    body = {"prompt": COUNT, "max_tokens": 1, "temperature": 0, "prompt_logprobs": 1}
    first, *others = server.post("/v1/completions", body).json()["choices"][0]["prompt_logprobs"]
    assert first is None
    ids = server.engine.get_tokenizer().encode(COUNT)
    for token_id, position in zip(ids[1:], others, strict=True):
        assert set(position[str(token_id)]) == {"logprob", "rank", "decoded_token"}
        assert 1 in {entry["rank"] for entry in position.values()}


def test_structured_outputs(server: Served) -> None:
    body: dict[str, Any] = {"prompt": COUNT, "max_tokens": 20}
    assert complete(server, **body, extra_body={"structured_outputs": {"choice": ["yes", "no"]}}).choices[0].text in (
        "yes",
        "no",
    )
    regex = complete(server, **body, extra_body={"structured_outputs": {"regex": "[a-c]{3}"}}).choices[0].text
    assert set(regex) <= set("abc") and len(regex) == 3
    schema = {"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"]}
    form = {"json": schema, "disable_any_whitespace": True, "disable_additional_properties": True}
    found = complete(server, **body, extra_body={"structured_outputs": form}).choices[0].text
    assert json.loads(found) in ({"a": True}, {"a": False})


def test_usage_goes_on_in_every_chunk_if_wanted(server: Served) -> None:
    options = {"include_usage": True, "continuous_usage_stats": True}
    chunks = chunks_of(server, prompt=COUNT, max_tokens=4, stream_options=options)
    counts = [chunk.usage.completion_tokens for chunk in chunks]
    assert counts == sorted(counts)
    assert counts[-1] == 4
    forced = server.with_args(enable_force_include_usage=True, enable_prompt_tokens_details=True)
    last = chunks_of(forced, prompt=COUNT, max_tokens=4)[-1]
    assert last.usage.prompt_tokens_details.cached_tokens in range(12)


def test_a_salt_parts_caches(server: Served) -> None:
    detailed = server.with_args(enable_prompt_tokens_details=True)
    prompt = list(range(100, 180))

    def cached(salt: str) -> int:
        usage = complete(detailed, prompt=prompt, max_tokens=1, extra_body={"cache_salt": salt}).usage
        tokens: int = usage.prompt_tokens_details.cached_tokens
        return tokens

    assert (cached("one"), cached("two")) == (0, 0)
    assert cached("one") > 0


def test_the_models_generation_config_fills_what_is_not_given() -> None:
    with served(override_generation_config={"temperature": 0.0, "max_new_tokens": 5}) as greedy:
        answers = [
            greedy.post("/v1/completions", {"prompt": COUNT, "max_tokens": 12, "ignore_eos": True}).json() for _ in "ab"
        ]
        assert {answer["choices"][0]["text"] for answer in answers} == {CONTINUED[:8]}
        assert answers[0]["usage"]["completion_tokens"] == 5


def test_beam_search_finds_what_is_likelier_than_the_greedy_way(server: Served) -> None:
    body: dict[str, Any] = {"prompt": "The statement", "max_tokens": 6, "temperature": 0, "logprobs": 0}

    def score(choice: Any) -> float:
        return float(sum(choice.logprobs.token_logprobs))

    greedy = complete(server, **body).choices[0]
    found = complete(server, **body, n=4, extra_body={"use_beam_search": True, "ignore_eos": True})
    scores = [score(choice) for choice in found.choices]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > score(greedy) - 1e-4
    assert len({choice.text for choice in found.choices}) == 4
    assert found.usage.completion_tokens == 4 * 6
    assert [choice.finish_reason for choice in found.choices] == ["length"] * 4


def test_request_ids(server: Served) -> None:
    body = {"prompt": COUNT, "max_tokens": 1}
    assert server.post("/v1/completions", body | {"request_id": "mine"}).json()["id"] == "cmpl-mine"
    given = server.post("/v1/completions", body, headers={"X-Request-Id": "other"})
    assert given.json()["id"] == "cmpl-other"


def test_leaving_aborts_every_output(server: Served) -> None:
    """A client that goes while it waits, and one that goes in mid-stream."""

    async def story(stream: bool) -> None:
        body = {"prompt": [COUNT, COUNT], "max_tokens": 400, "ignore_eos": True, "stream": stream}
        asked = asyncio.create_task(server.leave_after_first_event("/v1/completions", body))
        await asked
        assert server.engine.num_unfinished_requests == 0
        while not await server.engine.reset_prefix_cache():  # refused while anything runs
            await asyncio.sleep(0.01)

    for stream in (False, True):
        server.run(story(stream))


def test_the_framing_of_events(server: Served) -> None:
    answer = server.post("/v1/completions", {"prompt": COUNT, "max_tokens": 3, "temperature": 0, "stream": True})
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert "content-length" not in answer.headers
    *events, done, rest = answer.text.split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    assert [json.loads(each.removeprefix("data: "))["object"] for each in events] == ["text_completion"] * len(events)


def test_errors_by_class(server: Served) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        complete(server, model="nobody", prompt="x")
    assert missing.value.body["param"] == "model"  # type: ignore[index]
    with pytest.raises(openai.BadRequestError) as long:
        complete(server, prompt=[5] * 600, stream=True)
    assert long.value.body["param"] == "input_tokens"  # type: ignore[index]
    assert "maximum context length is 512 tokens" in str(long.value)
