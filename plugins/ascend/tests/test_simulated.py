"""What only a simulator can show: the device failing on purpose, races that always happen, and launches counted."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import Any

import pytest

from plugins.ascend.tests.mutant_names import MUTANT_NAMES

pytestmark = [pytest.mark.simulated, pytest.mark.timeout(1200)]
_PATIENCE_S = 540
"""For a program that takes a quarter of a minute on a machine of its own: only one that hangs is stopped."""
COUNTED = [" 20 21 22 23 24 25", " 8 9 10 11 12 13 1"]
USE_BLOCKING, RESET = "ASCEND_LAUNCH_BLOCKING=1", "npu-smi info"


def run(module: str, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A program of this folder in a process of its own: a device that failed stays so."""
    command = [sys.executable, "-m", f"plugins.ascend.tests.{module}", *words]
    environment = os.environ | {"VLLM_PLATFORM": "ascend", "OMP_NUM_THREADS": "1"} | variables
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=_PATIENCE_S)


def failing(*words: str, **variables: str) -> tuple[dict[str, Any], str]:
    """(what the three generations gave, what stood on standard error)."""
    done = run("failing", *words, **variables)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    assert lines, done.stderr[-2000:]
    return json.loads(lines[-1]), done.stderr


def test_a_chip_without_the_operators_is_refused_by_name() -> None:
    code = "import vllm_ascend; vllm_ascend.register()"
    environment = os.environ | {"CANN_SIM_SOC": "Ascend310P3"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    last_words = done.stderr[-800:]
    assert (
        "Unavailable: the NPU is an Ascend310P3, and the attention operators used here are made for Atlas A2"
        in last_words
    )
    assert "Ascend910B or Ascend910_93" in last_words


@pytest.mark.parametrize("mutant", MUTANT_NAMES)
def test_mutants_are_caught(mutant: str) -> None:
    """Under streams that run as late as their dependencies allow."""
    done = run("mutants", mutant, CANN_SIM_STREAMS="adversarial:1", VLLM_LOGGING_LEVEL="ERROR")
    assert done.returncode == 0, done.stdout + done.stderr[-1000:]


def test_lengths_do_not_change_under_a_replay_that_still_runs() -> None:
    """The host is ahead by all five steps. Without the wait a replay loses its lengths to a later one, which then has none."""
    slow = {"CANN_SIM_STREAMS": "async", "CANN_SIM_FAULTS": "aclnnScatterPaKvCache=slow:50ms"}

    def differing(module: str, patience_s: str) -> str:
        done = run("recordings", module, patience_s, **slow)
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout.split()[-1]

    # Only one of them may hang, and the other one has all the time that a busy machine takes.
    sound = differing("vllm_ascend.graph.AclGraphForward", "240")
    broken = differing("plugins.ascend.tests.mutants.UpdatesUnderAReplay", "20")
    assert sound == "0"
    assert broken == "hangs" or int(broken) > 0


@pytest.mark.parametrize(
    ("rules", "options", "operator", "remedy"),
    [
        ("aclnnFusedInferAttentionScore*#5=fail", [], "aclnnFusedInferAttentionScore", USE_BLOCKING),
        ("aclnnAddRmsNorm#30=fail", ["enforce_eager=false"], "aclnnAddRmsNorm", USE_BLOCKING),
        ("aclnnMatmul#50=refuse", [], "aclnnMatmul", USE_BLOCKING),
        ("*#300=lost", [], "aclnn", RESET),
    ],
    ids=["operator fails", "operator fails in a replay", "launch refused", "device lost"],
)
def test_a_failure_names_device_operator_and_step_and_ends_the_engine(
    rules: str, options: list[str], operator: str, remedy: str
) -> None:
    # torch_npu's launching thread, if it is ahead when a device is lost, may end the process: this is about what is raised
    queue = "0" if rules.endswith("=lost") else "1"
    runs, _ = failing(rules, *options, TASK_QUEUE_ENABLE=queue)
    assert runs["before"]["texts"] == COUNTED
    assert runs["failing"]["error"] == "DeviceError"
    first_line = runs["failing"]["text"].splitlines()[0]
    assert first_line.startswith("npu:0 (Ascend910B3) failed in " + operator)
    assert re.search(r"\bstep 1\d\b", first_line), first_line  # its forward pass or its sampling: where the host was
    assert remedy in runs["failing"]["text"]
    assert runs["after"]["error"] == "EngineDeadError"
    assert operator in runs["after"]["text"]


def test_memory_that_runs_out_in_mid_stream_undoes_a_step_and_nothing_more() -> None:
    runs, log = failing("full", "max_num_seqs=32", "max_num_batched_tokens=8192")
    assert "is undone; its requests run again in smaller steps. Memory ran out in" in log
    assert set(runs["failing"]["texts"]) == {" 150 151 152 153"}
    assert runs["after"]["texts"] == COUNTED


@pytest.mark.parametrize(
    ("rule", "operator"),
    [("Hccl*@1#120=timeout", "Hccl"), ("aclnnSwiGlu@1#20=fail", "aclnnSwiGlu")],
    ids=["a peer does not come", "an operator of one rank fails"],
)
def test_two_ranks_fail_together(rule: str, operator: str) -> None:
    runs, _ = failing("", "tensor_parallel_size=2", CANN_SIM_FAULTS=rule, CANN_SIM_DEVICES="2")
    assert runs["before"]["error"] == "DeviceError"
    assert runs["before"]["text"].startswith("npu:1 (Ascend910B3) failed in " + operator)
    assert "Raised by: Worker 1" in runs["before"]["text"]
    assert runs["after"]["error"] == "EngineDeadError"


@pytest.mark.parametrize("streams", ["async", "adversarial:1"])
def test_two_ranks_replay_what_one_computes(streams: str) -> None:
    runs, _ = failing(
        "", "tensor_parallel_size=2", "enforce_eager=false", CANN_SIM_STREAMS=streams, CANN_SIM_DEVICES="2"
    )
    assert [each["texts"] for each in runs.values()] == [COUNTED] * 3


def test_a_captured_step_costs_the_host_the_same_for_any_number_of_rows() -> None:
    done = run("launches", "--json")
    assert done.returncode == 0, done.stderr[-2000:]
    counts = {(row["rows"], row["captured"]): row for row in json.loads(done.stdout.splitlines()[-1])}
    assert counts[1, True]["host_calls"] == counts[32, True]["host_calls"] < counts[1, False]["host_calls"]
    assert counts[1, True]["graphs"] == 1
    assert all(row["waits"] == 1 for row in counts.values()), "one wait per step, for its tokens"
