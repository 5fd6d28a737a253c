"""The HTTP client against servers that send exactly these bytes; and the arithmetic of a measurement, by hand."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from vllm.entrypoints.cli.bench.serve_load import lengths
from vllm.entrypoints.cli.bench.serve_options import ServeBenchOptions
from vllm.entrypoints.cli.bench.serve_report import file_name, numbers
from vllm.entrypoints.client.api import ApiClient
from vllm.entrypoints.client.http import ServerError
from vllm.entrypoints.client.load import Experience, Load, Planned, ask_one, delays_s
from vllm.errors import ConfigError

JSON = b'HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n{"a": 1}'
HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
Story = Callable[[ApiClient], Coroutine[Any, Any, Any]]


def told(
    answers: list[bytes], story: Story, *, keeps: bool = True, byte_by_byte: bool = False
) -> tuple[Any, list[int]]:
    """The story's result, and for each request the number of the connection that it came on. `keeps`: until the client closes."""
    connections: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = max(connections, default=0) + 1
        while answers:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:
                break
            await reader.readexactly(int(head.lower().split(b"content-length:")[1].split()[0]))
            connections.append(number)
            answer = answers.pop(0)
            for part in [answer[i : i + 1] for i in range(len(answer))] if byte_by_byte else [answer]:
                writer.write(part)
                await writer.drain()
            if not keeps:
                break
        writer.close()

    async def run() -> Any:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        client = ApiClient(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", "key")
        try:
            return await story(client)
        finally:
            client.close()
            server.close()

    return asyncio.run(run()), connections


async def two_answers(client: ApiClient) -> Any:
    return [await client.get("/x"), await client.post("/x", {"b": 2})]


@pytest.mark.parametrize("keeps, connections", [(True, [1, 1]), (False, [1, 2])])
def test_a_connection_is_used_again_while_the_server_keeps_it(keeps: bool, connections: list[int]) -> None:
    assert told([JSON, JSON], two_answers, keeps=keeps) == ([{"a": 1}, {"a": 1}], connections)


async def all_events(client: ApiClient) -> list[bytes]:
    return [event async for event in client.events("/x", b"{}")]


@pytest.mark.parametrize("byte_by_byte", [False, True])
def test_events_are_whole_however_they_are_cut(byte_by_byte: bool) -> None:
    text = b'data: {"a":1}\n\n: a remark\n\ndata:{"b":2}\r\n\r\ndata: [DONE]\n\n'
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (text[:9], text[9:30], text[30:])) + b"0\r\n\r\n"
    events, _ = told([HEAD + chunks], all_events, byte_by_byte=byte_by_byte)
    assert events == [b'{"a":1}', b'{"b":2}']


@pytest.mark.parametrize(
    "answer, words",
    [
        (HEAD + b"5\r\ndata:", "closed the connection before its answer was complete"),
        (HEAD + b"0\r\n\r\n", "ended its stream without saying that it is done"),
        (b"SSH-2.0-OpenSSH\r\n", "The server's answer is no HTTP"),
        (
            b"HTTP/1.1 401 No\r\nContent-Length: 24\r\n\r\n" + b'{"error":"Unauthorized"}',
            "answered 401: Unauthorized\n",
        ),
        (b"HTTP/1.1 500 No\r\nContent-Length: 3\r\n\r\noh!", "answered 500: oh!"),
    ],
)
def test_what_goes_wrong_is_said(answer: bytes, words: str) -> None:
    with pytest.raises(ServerError) as caught:
        told([answer], all_events, keeps=False)
    assert words in f"{caught.value}\n"


@pytest.mark.parametrize(
    "url", ["localhost:8000", "ftp://host", "http://", "http://host:port", "http://a b", "http://a\n"]
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="is no address of a server"):
        ApiClient(url, None)


def test_a_key_cannot_add_headers() -> None:
    with pytest.raises(ConfigError, match="Authorization holds characters"):
        ApiClient("http://localhost", "key\r\nX-Other: 1")


def test_an_error_in_mid_stream_is_the_requests_failure() -> None:
    text = b'data: {"choices":[{"text":"a"}]}\n\ndata: {"error":{"message":"dead"}}\n\ndata: [DONE]\n\n'
    answer = HEAD + b"%x\r\n%s\r\n0\r\n\r\n" % (len(text), text)
    seen, _ = told([answer], lambda client: ask_one(client, "/x", Planned(body=b"{}", prompt_tokens=3)))
    assert not seen.is_good and "dead" in seen.error
    assert (seen.text, len(seen.token_times_s)) == ("a", 1)


def test_a_chats_first_event_without_text_is_no_token() -> None:
    events = ['{"choices":[{"delta":{"role":"assistant","content":""}}]}', '{"choices":[{"delta":{"content":"a"}}]}']
    text = "".join(
        f"data: {each}\n\n" for each in [*events, '{"usage":{"completion_tokens":2,"prompt_tokens":9}}', "[DONE]"]
    )
    answer = HEAD + b"%x\r\n%s\r\n0\r\n\r\n" % (len(text), text.encode())
    seen, _ = told([answer], lambda client: ask_one(client, "/x", Planned(body=b"{}", prompt_tokens=3)))
    assert (seen.is_good, len(seen.token_times_s), seen.output_tokens, seen.prompt_tokens) == (True, 1, 2, 9)


def experience(start_s: float, *times_s: float) -> Experience:
    return Experience(start_s=start_s, prompt_tokens=10, output_tokens=len(times_s), token_times_s=list(times_s))


def test_numbers_of_two_requests_by_hand() -> None:
    failed = Experience(start_s=0.0, prompt_tokens=10, error="no")
    seen = [experience(0.0, 0.5, 0.75, 1.5), experience(1.0, 1.25, 1.75, 2.25), failed]
    options = ServeBenchOptions(metric_percentiles=(50.0, 100.0), num_prompts=3, max_concurrency=2)
    result = numbers(Load(model="a/b c", duration_s=4.0, experiences=seen), options)
    assert (result["completed"], result["failed"], result["request_throughput"]) == (2, 1, 0.5)
    assert (result["output_throughput"], result["total_token_throughput"]) == (1.5, 6.5)
    assert (result["mean_ttft_ms"], result["p50_ttft_ms"], result["p100_ttft_ms"]) == (375.0, 375.0, 500.0)
    assert result["mean_tpot_ms"] == 500.0, "(1.5 - 0.5) / 2, and (2.25 - 1.25) / 2"
    assert (result["median_itl_ms"], result["p100_itl_ms"], result["std_itl_ms"]) == (
        500.0,
        750.0,
        pytest.approx(125 * 2**0.5),
    )
    assert result["mean_e2el_ms"] == 1375.0
    assert result["max_concurrent_requests"] == 2
    assert result["max_output_tokens_per_s"] == 3.0, "1.5, 1.25 and 1.75"
    assert file_name({**result, "date": "now"}, options) == "openai-infqps-concurrency2-b_c-now.json"


def test_a_peak_is_never_below_the_mean() -> None:
    seen = [experience(0.0, 0.1, 0.2, 0.25), experience(0.0, 0.1, 0.25)]
    result = numbers(Load(model="m", duration_s=0.25, experiences=seen), ServeBenchOptions())
    assert result["max_output_tokens_per_s"] == result["output_throughput"] == 20.0, "5 tokens in a quarter of a second"


def test_without_an_answer_every_number_is_zero() -> None:
    failed = Experience(start_s=0.0, prompt_tokens=10, error="no")
    result = numbers(Load(model="m", duration_s=1.0, experiences=[failed]), ServeBenchOptions())
    assert (result["completed"], result["failed"], result["p99_ttft_ms"], result["output_throughput"]) == (
        0,
        1,
        0.0,
        0.0,
    )


@pytest.mark.parametrize("burstiness", [0.5, 1.0, 4.0])
def test_delays_have_the_mean_and_the_spread_that_were_asked_for(burstiness: float) -> None:
    found_s = delays_s(20_001, 4.0, burstiness, seed=1)[1:]
    mean_s = sum(found_s) / len(found_s)
    variance_s2 = sum((each - mean_s) ** 2 for each in found_s) / len(found_s)
    assert mean_s == pytest.approx(0.25, rel=0.05)
    assert variance_s2 == pytest.approx(0.25**2 / burstiness, rel=0.1)


def test_all_at_once_and_lengths() -> None:
    assert delays_s(3, float("inf"), 1.0, seed=0) == [0.0, 0.0, 0.0]
    assert set(lengths(500, 10, 0.25, random.Random(0))) == set(range(7, 14)), "7.5 down and 12.5 up"
    assert lengths(3, 10, 0.0, random.Random(0)) == [10, 10, 10]
