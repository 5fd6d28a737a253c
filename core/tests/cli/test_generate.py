"""`vllm generate` and `vllm bench` with the embedded model: the real engine, on whatever platform this machine has."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from vllm.entrypoints.cli.bench.common import percentiles, random_prompts
from vllm.entrypoints.cli.main import main

SMALL = ["--max-num-seqs", "4", "--max-model-len", "64", "--num-gpu-blocks-override", "64", "--no-use-tqdm-on-load"]


def test_the_first_command_of_the_readme(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", "Count: 17 18 19", *SMALL]) == 0
    assert capsys.readouterr().out.startswith("Count: 17 18 19 20 21 22")


def test_prompts_from_everywhere_one_of_them_impossible(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "prompts").write_text("Count: 3 4 5\n\n" + "too long " * 100 + "\n")
    words = [
        "generate",
        "Count: 1 2 3",
        "--max-tokens",
        "4",
        *SMALL,
        "Count: 7 8 9",
        "--file",
        str(tmp_path / "prompts"),
        "--json",
    ]
    assert main(words) == 1, "one prompt was refused"
    captured = capsys.readouterr()
    lines = [json.loads(line) for line in captured.out.splitlines()]
    assert sorted(line["index"] for line in lines) == [0, 1, 2]
    assert [line["prompt"] for line in sorted(lines, key=lambda line: line["index"])] == [
        "Count: 1 2 3",
        "Count: 7 8 9",
        "Count: 3 4 5",
    ]
    assert all(len(line["outputs"][0]["token_ids"]) == 4 for line in lines)
    assert "vllm: prompt 3: This model's maximum context length is 64 tokens" in captured.err


def test_prompts_from_standard_input(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("Count: 17 18 19\n"))
    assert main(["generate", "--max-tokens", "2", *SMALL]) == 0
    assert capsys.readouterr().out.startswith("Count: 17 18 19 2")


@pytest.mark.parametrize("words", [["-", "--max-tokens", "2"], ["--max-tokens", "2", "-"]])
def test_a_dash_is_standard_input(
    words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("Count: 17 18 19\n"))
    assert main(["generate", "Count: 1 2 3", *SMALL, *words, "--json"]) == 0
    prompts = {json.loads(line)["prompt"] for line in capsys.readouterr().out.splitlines()}
    assert prompts == {"Count: 1 2 3", "Count: 17 18 19"}


def test_no_prompt_at_all(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert main(["generate"]) == 2
    assert "There is no prompt." in capsys.readouterr().err


def test_latency_counts_the_measured_runs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    words = [
        "--input-len",
        "4",
        "--output-len",
        "2",
        "--batch-size",
        "2",
        "--num-iters-warmup",
        "1",
        "--num-iters",
        "3",
        "--output-json",
    ]
    assert main(["bench", "latency", *words, str(file), *SMALL]) == 0
    result = json.loads(file.read_text())
    assert len(result["latencies"]) == 3
    assert result["avg_latency"] == pytest.approx(sum(result["latencies"]) / 3)
    shown = capsys.readouterr().out
    assert "Avg latency: " in shown
    assert "99% percentile latency: " in shown


def test_throughput_counts_every_token(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    words = ["--input-len", "5", "--output-len", "3", "--num-prompts", "6", "--output-json"]
    assert main(["bench", "throughput", *words, str(file), *SMALL]) == 0
    result = json.loads(file.read_text())
    assert (result["num_requests"], result["total_num_tokens"]) == (6, 6 * (5 + 3))
    assert result["tokens_per_second"] == pytest.approx(48 / result["elapsed_time"])
    shown = capsys.readouterr().out
    assert "Total num prompt tokens:  30" in shown
    assert "Total num output tokens:  18" in shown


def test_startup_measures_fresh_processes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    words = ["--num-iters-warmup", "0", "--num-iters", "1", "--output-json", str(file)]
    assert main(["bench", "startup", *words, *SMALL]) == 0
    result = json.loads(file.read_text())
    assert 0 < result["import_s"] + result["engine_s"] < result["avg_startup_time"]
    assert result["peak_rss_bytes"] > 10 * 2**20
    assert "Avg startup time: " in capsys.readouterr().out


def test_percentiles_by_hand() -> None:
    assert percentiles([4.0, 1.0, 3.0, 2.0], (0, 50, 75, 100)) == {0: 1.0, 50: 2.5, 75: 3.25, 100: 4.0}
    assert percentiles([5.0], (10, 99)) == {10: 5.0, 99: 5.0}


def test_random_prompts_repeat_with_their_seed() -> None:
    first, again = random_prompts(2, 3, 50, seed=1), random_prompts(2, 3, 50, seed=1)
    assert first == again
    assert first != random_prompts(2, 3, 50, seed=2)
    assert all(len(prompt["prompt_token_ids"]) == 3 for prompt in first)
