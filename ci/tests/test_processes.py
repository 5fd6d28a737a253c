"""Commands that hang, that fork away, and that end: none leaves a process behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from ci.packages import ROOT
from ci.processes import Ending, run_limited

HANGS = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print("child", child.pid, flush=True)
{then}
"""


def run(folder: Path, code: str, limit_s: float) -> tuple[Ending, str]:
    log = folder / "log.txt"
    command = [sys.executable, "-c", code]
    ending = run_limited(command, folder=folder, env=dict(os.environ), log=log, limit_s=limit_s)
    return ending, log.read_text()


def lives(process: str) -> bool:
    """Whether it is there and no zombie."""
    status = Path("/proc") / process / "status"
    return status.is_file() and "State:\tZ" not in status.read_text()


def test_a_command_ends_with_its_own_status_and_its_words_are_kept(tmp_path: Path) -> None:
    ending, log = run(tmp_path, "import sys; print('said'); sys.exit(7)", 60)
    assert ending.code == 7
    assert log.startswith("$ ")
    assert log.endswith("said\n")


def test_one_that_hangs_is_ended_with_a_child_that_left_its_session(tmp_path: Path) -> None:
    ending, log = run(tmp_path, HANGS.format(then="time.sleep(600)"), 5)
    assert ending.code is None
    assert "ended after 5 s, its limit" in log
    assert not lives(log.split("child ")[1].split()[0])


def test_what_outlives_a_command_that_ended_is_ended_too(tmp_path: Path) -> None:
    ending, log = run(tmp_path, HANGS.format(then=""), 60)
    assert ending.code == 0
    assert not lives(log.split("child ")[1].split()[0])


RUNS = """
import os, sys
from pathlib import Path
from ci.processes import heed_termination, run_limited

heed_termination()
code = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
run_limited([sys.executable, "-c", code], folder=Path.cwd(), env=dict(os.environ), log=Path(sys.argv[1]), limit_s=600)
"""


def test_a_run_that_is_told_to_end_ends_what_it_runs(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    with subprocess.Popen([sys.executable, "-c", RUNS, str(log)], cwd=ROOT) as runner:
        while not (log.is_file() and log.read_text().endswith("\n") and log.read_text().count("\n") == 2):
            assert runner.poll() is None
            time.sleep(0.02)
        runner.terminate()
        assert runner.wait(60) == 128 + signal.SIGTERM
    assert not lives(log.read_text().split()[-1])
