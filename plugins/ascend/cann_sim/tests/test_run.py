"""`cann-sim run`, `activate()` and `doctor` on what is really built: the real torch_npu must find a device, children included."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from cann_sim import build
from cann_sim.counters import Counters

if find_spec("torch_npu") is None:
    pytest.skip("torch_npu is not installed", allow_module_level=True)

CANN_SIM = (sys.executable, "-m", "cann_sim.cli")


def outcome(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    dropped = ("CANN_SIM_", "ASCEND_", "LD_LIBRARY_PATH", "TORCH_DEVICE")
    kept = {name: text for name, text in os.environ.items() if not name.startswith(dropped)}
    return subprocess.run(words, env=kept | environ, capture_output=True, text=True, check=False, timeout=200)


def test_a_command_and_its_child_run_on_the_simulator(tmp_path: Path) -> None:
    child = "import torch, torch_npu; print(torch.npu.device_count(), torch.ones(3).npu().cpu().sum().item())"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}], check=True)"
    options = ("--devices", "3", "--counters", str(tmp_path / "%p.json"))
    done = outcome(*CANN_SIM, "run", *options, "--", sys.executable, "-c", parent)
    assert done.stdout == "3 3.0\n", done.stderr
    (file,) = tmp_path.glob("*.json")  # the parent has loaded nothing
    assert Counters.from_json(file.read_text()).memory[0].peak_bytes > 0


def test_exit_status_and_signal_are_the_commands_own() -> None:
    assert outcome(*CANN_SIM, "run", "--", "sh", "-c", "exit 3").returncode == 3
    assert outcome(*CANN_SIM, "run", "--", "sh", "-c", "kill -TERM $$").returncode == -signal.SIGTERM


def test_wrong_rules_are_refused_before_anything_runs(tmp_path: Path) -> None:
    done = outcome(*CANN_SIM, "run", "--faults", "aclnnMatmul=explode", "--", "touch", str(tmp_path / "ran"))
    assert done.returncode == 1
    assert "the fault rules 'aclnnMatmul=explode' cannot be read" in done.stderr
    assert not (tmp_path / "ran").exists()


ACTIVATED = """
import os, sys
import cann_sim
cann_sim.activate(devices=2)
cann_sim.activate(devices=2)
import torch, torch_npu
with cann_sim.counting() as counted:
    moved = torch.ones(4).npu()
    moved = moved + moved
    torch.npu.synchronize()
assert counted.counters.operations["aclnnAdd"].launches == 1, counted
with cann_sim.faults("aclrtMalloc*=oom"):
    try:
        torch.empty(2**28, device="npu")
    except torch.OutOfMemoryError:
        print("out of memory")
print(torch.npu.device_count(), moved.cpu().tolist())
"""


def test_activate_needs_no_variable_of_the_caller() -> None:
    done = outcome(sys.executable, "-c", ACTIVATED)
    assert done.stdout == "out of memory\n2 [2.0, 2.0, 2.0, 2.0]\n", done.stderr


def test_activate_after_the_fact_is_refused() -> None:
    code = "import sys, types, cann_sim; sys.modules['torch_npu'] = types.ModuleType('torch_npu'); cann_sim.activate()"
    done = outcome(sys.executable, "-c", code)
    assert "TooLate: torch_npu is imported already" in done.stderr


def test_doctor_tells_the_pair_and_what_is_simulated() -> None:
    build()
    done = outcome(*CANN_SIM, "doctor", "--operators")
    assert done.returncode == 0, done.stdout
    lines = done.stdout.splitlines()
    assert any(line.startswith("torch_npu") for line in lines)
    assert "  HcclAllReduce" in lines


def test_a_built_toolkit_is_found_again() -> None:
    assert build() == build()
