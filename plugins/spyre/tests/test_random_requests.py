"""Many requests in bursts, some aborted, with fixed shapes: nobody's tokens change, and no step has a shape of its own.

`SPYRE_REQUESTS=200` runs the long version.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from vllm import SamplingParams
from vllm.engine.llm_engine import LLMEngine
from vllm.inputs import TokensPrompt
from vllm.testing.workplace import Workplace

REQUESTS = int(os.environ.get("SPYRE_REQUESTS", "32"))
LONGEST = 1500
FEW_SHAPES = {"VLLM_SPYRE_WARMUP_CONTEXT_LENS": "512,1536", "VLLM_SPYRE_WARMUP_BATCH_SIZES": "1,4"}
pytestmark = pytest.mark.timeout(300 + 10 * REQUESTS)
OPTIONS = {
    "dtype": "float32",
    "max_model_len": 1536,
    "max_num_seqs": 4,
    "skip_tokenizer_init": True,
    "disable_log_stats": True,
    "use_tqdm_on_load": False,
    "kv_cache_memory_bytes": 24 * 2**20,
}


@contextmanager
def engine_on(platform: str) -> Iterator[LLMEngine]:
    with Workplace(platform) as workplace:
        engine = LLMEngine(workplace.config(**OPTIONS))
        try:
            yield engine
        finally:
            engine.shutdown()


def random_requests(draw: random.Random) -> dict[str, tuple[list[int], SamplingParams]]:
    """Prompts of 1 to 1,500 tokens; short ones more often; greedy and seeded draws."""
    requests = {}
    for index in range(REQUESTS):
        length = draw.randint(1, draw.choice([3, 70, 400, LONGEST]))
        params = SamplingParams(
            max_tokens=draw.randint(1, 24), temperature=draw.choice([0.0, 0.0, 0.9]), seed=index, ignore_eos=True
        )
        requests[f"r{index}"] = ([draw.randrange(10, 2000) for _ in range(length)], params)
    return requests


def run_in_bursts(
    engine: LLMEngine, requests: dict[str, tuple[list[int], SamplingParams]], draw: random.Random
) -> dict[str, list[int]]:
    """Tokens of each; of an aborted one what it had."""
    got: dict[str, list[int]] = {}
    waiting = list(requests.items())
    while waiting or engine.has_unfinished_requests():
        if waiting and draw.random() < 0.1:
            for request_id, (prompt, params) in [waiting.pop(0) for _ in range(min(len(waiting), draw.randint(1, 8)))]:
                engine.add_request(request_id, TokensPrompt(prompt_token_ids=prompt), params)
                got[request_id] = []
        if got and draw.random() < 0.02:
            engine.abort_request([draw.choice(list(got))])
        for output in engine.step():
            got[output.request_id] = list(output.outputs[0].token_ids)
    return got


def alone(engine: LLMEngine, requests: dict[str, tuple[list[int], SamplingParams]]) -> dict[str, list[int]]:
    answers = {}
    for request_id, request in requests.items():
        answers.update(run_in_bursts(engine, {request_id: request}, NoAborts(0)))
    return answers


class NoAborts(random.Random):
    """Adds requests, ends none."""

    def random(self) -> float:
        return 0.05


@dataclass(frozen=True)
class Workload:
    """Requests, and what cpu_ref answers to each of them alone."""

    draw_state: tuple[Any, ...]
    """Of the draws that are left for bursts and aborts."""
    requests: dict[str, tuple[list[int], SamplingParams]]
    expected: dict[str, list[int]]


@pytest.fixture(scope="module")
def workload() -> Workload:
    draw = random.Random(1)
    requests = random_requests(draw)
    with engine_on("vllm_cpu_ref.platform.CpuRefPlatform") as engine:
        return Workload(draw.getstate(), requests, alone(engine, requests))


def assert_answers(workload: Workload) -> None:
    draw = random.Random()
    draw.setstate(workload.draw_state)
    with engine_on("vllm_spyre.platform.SpyrePlatform") as engine:
        found = run_in_bursts(engine, workload.requests, draw)
    ended = 0
    for request_id, tokens in found.items():
        expected = workload.expected[request_id]
        assert tokens == expected[: len(tokens)], request_id
        ended += len(tokens) == len(expected)
    assert ended > 0.5 * REQUESTS
    assert ended < REQUESTS, "no request was aborted: the test saw nothing of that"


def test_outputs_are_those_of_each_request_alone(workload: Workload) -> None:
    assert_answers(workload)


def test_under_the_cards_rules_none_is_broken_and_nothing_is_compiled_after_warm_up(
    workload: Workload, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few shapes, unless the environment lists others."""
    monkeypatch.setenv("VLLM_SPYRE_DYNAMO_BACKEND", "checked")
    monkeypatch.setenv("VLLM_SPYRE_CHECK_REPORT", str(tmp_path / "report.json"))
    for name, sizes in FEW_SHAPES.items():
        monkeypatch.setenv(name, os.environ.get(name, sizes))
    assert_answers(workload)
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert report["compilations"]["serving"] == 0
    assert report["compilations"]["warm_up"] > 5
    assert not any(report["violations"].values())
    print(json.dumps({name: report[name] for name in ("compilations", "steps", "tokens")}, indent=2))
