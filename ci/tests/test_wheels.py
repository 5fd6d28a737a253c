"""What the wheels session accepts from an installed command. (The session itself builds and runs real wheels.)"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ci.packages import ROOT
from ci.wheels import Outcome, expect, readme_example, run_there


def outcome(code: int | None, text: str) -> Outcome:
    return Outcome(command=("vllm", "generate"), code=code, text=text)


def test_the_right_ending_with_the_right_words_passes() -> None:
    expect(outcome(0, "Count: 20 21 22"), succeeds=True, saying=("20 21",))
    expect(outcome(1, "No platform"), succeeds=False, saying=("No platform",))


def test_a_command_is_heard_whole_and_ended_at_its_limit(tmp_path: Path) -> None:
    code = "import os, sys, time\nprint(os.getcwd(), os.environ['MINE'], flush=True)\ntime.sleep(int(sys.argv[1]))"
    done = run_there(tmp_path, sys.executable, "-c", code, "0", env={"MINE": "yes"})
    assert (done.code, done.text) == (0, f"{tmp_path.resolve()} yes")
    late = run_there(tmp_path, sys.executable, "-c", code, "600", env={"MINE": "yes"}, limit_s=3)
    assert late.code is None
    assert late.text.startswith(f"{tmp_path.resolve()} yes")


@pytest.mark.parametrize(
    "done, succeeds, saying, told",
    [
        (outcome(1, "20 21"), True, ("20 21",), "should succeed"),
        (outcome(0, "No platform"), False, ("No platform",), "should fail"),
        (outcome(1, "Traceback"), False, ("No platform",), "did not say 'No platform'"),
        (outcome(0, ""), True, ("20 21",), "did not say '20 21'"),
        (outcome(None, "No platform"), False, ("No platform",), "over its time"),
    ],
)
def test_anything_else_is_an_error_with_the_output(
    done: Outcome, succeeds: bool, saying: tuple[str, ...], told: str
) -> None:
    with pytest.raises(RuntimeError, match=told) as caught:
        expect(done, succeeds=succeeds, saying=saying)
    assert done.text in str(caught.value)


def test_the_readme_holds_one_python_example_that_compiles() -> None:
    example = readme_example((ROOT / "README.md").read_text())
    compile(example, "README.md", "exec")
    assert "from vllm import LLM, SamplingParams" in example


def test_two_examples_would_be_noticed() -> None:
    with pytest.raises(ValueError, match="too many values"):
        readme_example("```python\n1\n```\n```python\n2\n```\n")


def test_ci_runs_the_readmes_test_command() -> None:
    script = (ROOT / ".ci" / "run").read_text().replace(" --quiet", "").replace(' "$@" 2>&1 | tee', "\n").splitlines()
    *steps, what_failed = (line for line in script if line.startswith(("python3.11", ".venv-ci/")))
    assert "ci.last_words" in what_failed
    command = " && ".join(steps)
    assert f"```\n{command}\n```" in (ROOT / "README.md").read_text()
