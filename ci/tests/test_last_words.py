"""What a run says again at its end; and `.ci/run` itself, in a small repository."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from ci.environments import clean_environ
from ci.last_words import CAPTURED_LINES, LINES, again
from ci.packages import ROOT

WRONG = """
def test_chatters():
    for number in range(1000):
        print("chatter", number)
    assert 1 + 1 == 3

def test_is_left_out():
    import pytest
    pytest.skip("not on this machine")

def test_breaks():
    raise KeyError("the other one")
"""

FLAKY = """
from pathlib import Path

def test_first_time():
    marker = Path(__file__).with_suffix(".seen")
    seen = marker.exists()
    marker.touch()
    print("the server said this")
    assert seen, "too late on a bad day"
"""

NOXFILE = """
import sys
import nox

nox.options.default_venv_backend = "none"


@nox.session
def fine(session):
    print("nothing to see")


@nox.session
@nox.parametrize("name", ["flaky"])
def tests(session, name):
    pytest = (sys.executable, "-m", "pytest", "-p", "xdist")
    session.run(sys.executable, "-m", "ci.second_try", ".nox/tries", *pytest, f"{name}.py", external=True)


@nox.session
def lint(session):
    session.run(sys.executable, "-c", "print('a line is', 'too long'); exit(3)", external=True)
"""

STAND_IN = """#!/bin/sh
# In place of `python3.11 -m venv .venv-ci`: an environment that is there already.
mkdir -p .venv-ci/bin
printf '#!/bin/sh\\n' > .venv-ci/bin/pip
for each in python nox; do printf '#!/bin/sh\\nexec "%s/%s" "$@"\\n' "$BIN" $each > .venv-ci/bin/$each; done
chmod +x .venv-ci/bin/*
"""


def session(name: str, said: str, ending: str) -> str:
    return f"nox > Running session {name}\nnox > a command\n{said}nox > Session {name} {ending}\n"


def test_of_pytest_the_failures_and_the_summary_are_said_and_little_that_was_captured(tmp_path: Path) -> None:
    (tmp_path / "wrong.py").write_text(WRONG)
    command = [sys.executable, "-m", "pytest", "-ra", "wrong.py"]
    said = subprocess.run(
        command, cwd=tmp_path, env=clean_environ(), text=True, capture_output=True, check=False
    ).stdout
    core = session("core", said, "failed.")
    words = "\n".join(
        again(session("lint", "", "was successful.") + core + "nox > Ran 2 sessions:\nnox > * core: failed\n")
    )
    assert words.startswith("\n######## core: failed\n==== FAILURES ====\n___")
    assert "E       assert (1 + 1) == 3" in words
    assert "\nchatter 999\n____" in words
    assert words.count("\nchatter ") == CAPTURED_LINES
    assert "FAILED wrong.py::test_breaks - KeyError: 'the other one'\n==== 2 failed, 1 skipped" in words
    assert words.endswith("nox > Session core failed.")
    assert "not on this machine" not in words


def test_of_anything_else_the_end_is_said_and_sessions_share_the_place() -> None:
    said = "".join(f"line {number}\n" for number in range(1, LINES + 1))
    log = session("plugin(name='ascend')", said, "failed.") + session("docs", said, "aborted: no.")
    words = again(log)
    (middle,) = (place for place, line in enumerate(words) if line == "######## docs: failed")
    assert words[1:3] == ["######## plugin(name='ascend'): failed", f"[{LINES // 2 + 2} lines more above]"]
    assert words[middle - 3 : middle] == [f"line {LINES}", "nox > Session plugin(name='ascend') failed.", ""]
    assert len(words) == LINES + 6


def test_a_session_that_says_that_another_failed_has_not_failed() -> None:
    assert again(session("ci", "nox > Session core failed.\n", "was successful.")) == []


def test_a_run_says_again_what_failed_and_what_is_flaky_below_nox(tmp_path: Path) -> None:
    for name in (".ci/run", "ci/__init__.py", "ci/last_words.py", "ci/second_try.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "noxfile.py").write_text(NOXFILE)
    (tmp_path / "flaky.py").write_text(FLAKY)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python3.11").write_text(STAND_IN)
    (tmp_path / "bin" / "python3.11").chmod(0o755)
    env = clean_environ() | {"BIN": str(Path(sys.executable).parent), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    env["PATH"] = os.pathsep.join([str(tmp_path / "bin"), env["PATH"]])
    run = subprocess.run([tmp_path / ".ci" / "run"], env=env, text=True, capture_output=True, check=False)
    assert (run.returncode, run.stderr) == (1, "")
    assert run.stdout.startswith((tmp_path / ".nox" / "last-run.log").read_text())
    _, _, end = run.stdout.partition("nox > * lint: failed\n")
    tests, lint = end.split("\n######## lint: failed\n")
    assert tests.startswith(
        "\n######## tests(name='flaky'): passed only on the second try, alone\n==== FAILURES ====\n"
    )
    assert "too late on a bad day" in tests
    assert "the server said this" in tests
    assert "\n######## passed only on the second try, alone:\n  flaky.py::test_first_time\n" in tests
    assert "\na line is too long\n" in lint
    assert "nothing to see" not in end
