"""`vllm chat`, `vllm complete` and `vllm bench serve` against a spawned server; `vllm run-batch` without one."""

from __future__ import annotations

import asyncio
import io
import json
import socket
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from core.tests.serving.in_process import Served
from core.tests.serving.spawned import Spawned
from vllm.entrypoints.cli.main import main
from vllm.entrypoints.openai.batch import answers_to

COUNT = "Count: 17 18 19"
CONTINUED = " 20 21 22 23 24 25"
"""What the tiny model makes of COUNT in 12 tokens."""
GREEDY = ["--max-tokens", "12", "--temperature", "0"]


def said(server: Spawned, messages: list[dict[str, str]]) -> str:
    """What the server says next."""
    with server.client() as client:
        answer = client.post(
            "/v1/chat/completions", json={"messages": messages, "max_tokens": 12, "temperature": 0}
        ).json()
    text: str = answer["choices"][0]["message"]["content"]
    return text


@pytest.mark.parametrize("stream", ["--stream", "--no-stream"])
def test_complete_prints_what_follows(server: Spawned, stream: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["complete", "--url", server.url + "/v1", "-q", COUNT, stream, *GREEDY]) == 0
    assert capsys.readouterr().out == CONTINUED + "\n"


def test_prompts_are_lines_of_standard_input(
    server: Spawned, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{COUNT}\n\n{COUNT}"))
    assert main(["complete", "--url", server.url + "/v1", "--model-name", "tiny", *GREEDY]) == 0
    assert capsys.readouterr().out == f"{CONTINUED}\n" * 2


def test_a_chat_is_sent_whole_each_time(
    server: Spawned, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("Hello\nAnd then?\n"))
    words = ["chat", "--url", server.url + "/v1", "--system-prompt", "Be brief.", *GREEDY]
    assert main(words) == 0
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
    first = said(server, messages)
    second = said(
        server, [*messages, {"role": "assistant", "content": first}, {"role": "user", "content": "And then?"}]
    )
    assert capsys.readouterr().out == f"{first}\n{second}\n"


def with_a_port(served: Served, words: list[str]) -> int:
    """The exit status of a command whose server is the application, on a port of its own."""

    async def story() -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(served.app, lifespan="off", log_level="error"))
        serving = asyncio.create_task(server.serve([listener]))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        try:
            return await asyncio.to_thread(main, [*words, "--url", url])
        finally:
            server.should_exit = True
            await serving

    status: int = served.run(story())
    return status


@pytest.mark.parametrize("stream", ["--stream", "--no-stream"])
def test_reasoning_without_an_answer_is_shown(inside: Served, stream: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The tiny model writes no `</think>`: all is reasoning."""
    server = inside.with_args(reasoning_parser="qwen3")
    asked = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 12, "temperature": 0}
    message = server.post("/v1/chat/completions", asked).json()["choices"][0]["message"]
    capsys.readouterr()
    assert with_a_port(server, ["chat", "-q", "hi", stream, *GREEDY]) == 0
    captured = capsys.readouterr()
    assert message["content"] is None and message["reasoning"] + "\n" in captured.err
    assert captured.out == "" and "only reasoning came" in captured.err


@pytest.mark.parametrize("command", ["chat", "complete"])
def test_a_servers_refusal_is_told_in_its_words(
    server: Spawned, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "--url", server.url + "/v1", "-q", "x", "--model-name", "nobody"]) == 1
    captured = capsys.readouterr()
    assert "answered 404: The model `nobody` does not exist." in captured.err
    assert "Traceback" not in captured.err


@pytest.mark.parametrize("more", [[], ["--model-name", "tiny"]])
def test_an_address_without_v1_is_told_so(server: Spawned, more: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["complete", "--url", server.url, "-q", "x", *more]) == 1
    assert f"Remedy: OpenAI's API is usually under /v1: --url {server.url}/v1" in capsys.readouterr().err


def bench(server: Spawned, folder: Path, *words: str) -> dict[str, Any]:
    """The result of one measurement with 6 requests."""
    common = ["--base-url", server.url, "--num-prompts", "6", "--input-len", "12", "--output-len", "5", "--ignore-eos"]
    file = ["--save-result", "--save-detailed", "--result-dir", str(folder), "--result-filename", "result.json"]
    assert main(["bench", "serve", *common, *file, "--disable-tqdm", *words]) == 0
    result: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return result


def test_bench_measures_every_request(server: Spawned, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = bench(server, tmp_path, "--max-concurrency", "2", "--percentile-metrics", "ttft,e2el", "--seed", "5")
    assert (result["completed"], result["failed"], result["model_id"]) == (6, 0, "tiny")
    assert (result["total_input_tokens"], result["total_output_tokens"]) == (72, 30)
    assert result["input_lens"] == [12] * 6 and result["output_lens"] == [5] * 6
    assert result["max_concurrent_requests"] <= 2
    assert result["output_throughput"] == pytest.approx(30 / result["duration"])
    assert result["median_ttft_ms"] <= result["p99_ttft_ms"] <= result["p99_e2el_ms"]
    gaps_s = [gap for gaps in result["itls"] for gap in gaps]
    assert result["mean_itl_ms"] == pytest.approx(1000 * sum(gaps_s) / len(gaps_s))
    table = capsys.readouterr().out
    assert "Successful requests:                     6 " in table
    assert "P99 TTFT (ms):" in table and "Mean E2EL (ms):" in table and "TPOT" not in table


def test_bench_repeats_itself(server: Spawned, tmp_path: Path) -> None:
    words = ["--random-range-ratio", "0.5", "--temperature", "0", "--seed", "3", "--num-warmups", "2"]
    first, again = (bench(server, tmp_path, *words) for _ in range(2))
    assert first["input_lens"] == again["input_lens"] and len(set(first["input_lens"])) > 1
    assert first["generated_texts"] == again["generated_texts"]
    assert all(6 <= length <= 18 for length in first["input_lens"])


def test_bench_of_chats_with_tokens_of_a_folder(server: Spawned, tmp_path: Path) -> None:
    import vllm

    folder = str(Path(vllm.__file__).parent / "assets" / "tiny")
    result = bench(
        server,
        tmp_path,
        "--backend",
        "openai-chat",
        "--tokenizer",
        folder,
        "--request-rate",
        "200",
        "--burstiness",
        "2",
    )
    assert (result["completed"], result["output_lens"]) == (6, [5] * 6)
    assert result["backend"] == "openai-chat" and result["request_rate"] == 200.0


def test_bench_says_why_nothing_can_be_measured(server: Spawned, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "serve", "--base-url", server.url, "--input-len", "5k", "--num-prompts", "1"]) == 1
    assert "maximum context length is" in capsys.readouterr().err
    assert main(["bench", "serve", "--host", "127.0.0.1", "--port", "1"]) == 1
    assert "There is no server at http://127.0.0.1:1:" in capsys.readouterr().err


def line(custom_id: str, url: str, **body: Any) -> bytes:
    return json.dumps({"custom_id": custom_id, "method": "POST", "url": url, "body": body}).encode()


LINES = [
    line("a", "/v1/completions", prompt=COUNT, max_tokens=12, temperature=0),
    line("b", "/v1/chat/completions", messages=[{"role": "user", "content": "Hi"}], max_tokens=4),
    line("c", "/v1/embeddings", input="x"),
    b"no json",
    line("e", "/v1/completions", prompt=""),
    line("f", "/v1/completions", prompt="x", stream=True),
    line("g", "/v1/completions", prompt="x", model="nobody"),
]


def test_a_batch_is_answered_in_its_order(inside: Served) -> None:
    async def story(ahead: int) -> list[Any]:
        return [(json.loads(answer), good) async for answer, good in answers_to(LINES, inside.app, ahead)]

    found = inside.run(story(2))
    answers = [answer for answer, _ in found]
    assert [good for _, good in found] == [True, True, False, False, False, False, False]
    assert [each["custom_id"] for each in answers] == ["a", "b", "c", None, "e", "f", "g"]
    assert [each["response"]["status_code"] for each in answers] == [200, 200, 400, 400, 400, 400, 404]
    assert answers[0]["response"]["body"]["choices"][0]["text"] == CONTINUED
    assert answers[1]["response"]["body"]["choices"][0]["message"]["role"] == "assistant"
    assert answers[0]["error"] is None and answers[6]["error"]["error"]["param"] == "model"
    assert len({each["id"] for each in answers} | {each["response"]["request_id"] for each in answers}) == 14


def test_run_batch_writes_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    monkeypatch.setenv("VLLM_API_KEY", "sesame")
    (tmp_path / "in").write_bytes(b"\n".join([LINES[0], b"", *LINES[:2]]) + b"\n")
    engine = ["--max-num-seqs", "2", "--max-model-len", "128", "--num-gpu-blocks-override", "32", "--dtype", "float32"]
    assert main(["run-batch", "-i", str(tmp_path / "in"), "-o", str(tmp_path / "out"), *engine]) == 0
    answers = [json.loads(each) for each in (tmp_path / "out").read_text().splitlines()]
    assert [each["custom_id"] for each in answers] == ["a", "a", "b"]
    assert answers[0]["response"]["body"]["choices"] == answers[1]["response"]["body"]["choices"]
    assert "3 requests answered, 0 failed" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]
