"""`vllm plugin test`: its exit status, its files, and what it says about platforms that are not there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vllm.entrypoints.cli.main import main
from vllm.logger import init_logger
from vllm.testing.planned_failures import planned_failures

PLATFORMS = "core.tests.testing.platforms"


def test_a_sound_platform_is_a_success_with_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--law", "ops", "--law", "contract", "--dtype", "float32", "--report", str(tmp_path)]
    assert main(["plugin", "test", "cpu_ref", *arguments]) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["passed"] and report["platform"] == "cpu_ref" and report["dtypes"] == ["float32"]
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")
    words = capsys.readouterr().out
    assert "cpu_ref keeps the laws on float32" in words
    assert f"wrote {tmp_path / 'report.json'}" in words


def test_a_broken_platform_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugin", "test", f"{PLATFORMS}.MisscaledPlatform", "--quick", "--law", "attention"]) == 1
    words = capsys.readouterr().out
    assert "FAILED attention.ragged_rows float32" in words and "sound BREAKS the laws" in words


def test_steps_that_fail_by_plan_leave_the_table_alone(capsys: pytest.CaptureFixture[str]) -> None:
    law = "a_failed_step_costs_its_request"
    assert main(["plugin", "test", "cpu_ref", "--quick", "--law", f"generation.{law}", "--dtype", "float32"]) == 0
    captured = capsys.readouterr()
    assert law in captured.out
    assert "ERROR" not in captured.err and "WARNING" not in captured.err


def raised(words: str) -> Exception:
    try:
        raise RuntimeError(words)
    except RuntimeError as error:
        return error


def test_failures_that_nobody_planned_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    """And from then on whose fault they are, too."""
    steps, culprits = init_logger("vllm.engine.core"), init_logger("vllm.engine.scheduler.isolation")
    with planned_failures("as planned"):
        steps.error("Step 1", exc_info=raised("it fails as planned"))
        culprits.error("Culprit 1")
        steps.error("The engine stops as planned")
        culprits.error("Culprit 2")
        steps.error("Step 2", exc_info=raised("it fails"))
        steps.error("Step 3", exc_info=raised("it fails as planned"))
        culprits.warning("Culprit 3")
    steps.error("Step 4", exc_info=raised("it fails as planned"))
    told = capsys.readouterr().err
    assert [f"] {words}" in told for words in ("Step 1", "Culprit 1", "Step 3")] == [False] * 3
    told_words = ("The engine stops", "Culprit 2", "Step 2", "Culprit 3", "Step 4")
    assert [f"] {words}" in told for words in told_words] == [True] * 5


def test_nothing_tested_is_no_success(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugin", "test", f"{PLATFORMS}.SoloPlatform", "--law", "collectives", "--dtype", "float32"]) == 3
    assert "sound was NOT TESTED: none of these laws could be checked here: 7 not testable" in capsys.readouterr().out


def test_an_unknown_plugin_is_the_resolutions_message(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugin", "test", "cpu_reff"]) == 1
    words = capsys.readouterr().err
    assert "The platform asked for is 'cpu_reff', but no installed platform plugin has this name" in words
    assert "Did you mean: cpu_ref?" in words


def test_an_unusable_plugin_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugin", "test", "ascend"]) == 1
    words = capsys.readouterr().err
    assert (
        "The platform asked for is 'ascend', but that platform is not usable here:\n  - ascend (vllm-plugin-ascend"
        in words
    )
    assert "VLLM_PLATFORM" not in words


def test_an_unknown_law(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugin", "test", "cpu_ref", "--law", "atention"]) == 1
    assert "No law is called 'atention'" in capsys.readouterr().err


def test_a_report_that_cannot_be_written_is_said_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert main(["plugin", "test", "cpu_ref", "--law", "contract", "--report", str(tmp_path / "file")]) == 2
    words = capsys.readouterr()
    assert "File exists" in words.err and words.out == ""
