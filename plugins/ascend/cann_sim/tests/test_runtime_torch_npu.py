"""Owns the tests of the runtime under the real torch_npu: what torch makes of memory, graphs, races and failures."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from acl_calls import torch_environment

MIB = 2**20
_SCRIPTS = Path(__file__).with_name("torch_npu_scripts.py")


def start(
    script: str, *, environ: dict[str, str] | None = None, **settings: object
) -> subprocess.CompletedProcess[str]:
    """Run one of the scripts in a process of its own."""
    given = torch_environment({**os.environ, **(environ or {})}, settings)
    command = [sys.executable, str(_SCRIPTS), script]
    return subprocess.run(command, env=given, capture_output=True, text=True, timeout=240, check=False)


def answer(script: str, *, environ: dict[str, str] | None = None, **settings: object) -> Any:
    """What the script printed."""
    done = start(script, environ=environ, **settings)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_out_of_memory_is_torchs_own_error_and_the_process_goes_on(tmp_path: Path) -> None:
    seen = answer("memory", hbm_bytes="128MiB", counters=str(tmp_path / "counters.json"))
    assert seen["total"] == 128 * MIB
    assert seen["free"] - seen["after"] >= 32 * MIB
    assert "Tried to allocate 2.00 GiB" in seen["said"]
    assert seen["same"]
    assert seen["back"] - seen["after"] >= 32 * MIB
    counted = json.loads((tmp_path / "counters.json").read_text())
    assert counted["memory"][0]["peak_bytes"] >= 32 * MIB, "the counters are written when the process ends"


def test_expandable_segments_map_and_unmap() -> None:
    seen = answer("segments", hbm_bytes="256MiB", environ={"PYTORCH_NPU_ALLOC_CONF": "expandable_segments:True"})
    assert seen == {"sums": [0.0, 1.0, 2.0], "came_back": True}


def test_a_graph_is_one_launch_and_reading_a_value_spoils_its_capture() -> None:
    seen = answer("graphs")
    assert (seen["eager"], seen["captured"]) == ([2, 0], [0, 1])
    assert seen["out"] == seen["alive"] == [8.0, 8.0, 8.0, 8.0]
    assert "507903" in seen["said"]
    assert "made invalid by aclrtSynchronizeStream" in seen["said"]


@pytest.mark.parametrize("seed", [0, 1])
def test_races_of_torch_code_show_and_right_code_passes(seed: int) -> None:
    wrong_and_right = answer("races", streams=f"adversarial:{seed}")
    assert wrong_and_right == {name: [False, True] for name in ("wait", "read", "overwrite", "reuse")}


def test_a_failure_names_operator_device_and_stream() -> None:
    said = answer("failure", faults="aclnnMuls#2=fail")["said"]
    assert len(said) == 2, "the stream stays failed"
    for text in said:
        assert "507015" in text
        assert "aclnnMuls failed on device 0, stream" in text


def test_the_host_cannot_touch_a_tensor_of_the_device() -> None:
    done = start("touch")
    assert done.returncode == -signal.SIGSEGV
    assert "host code touched device memory" in done.stderr
    assert "on device 0" in done.stderr
