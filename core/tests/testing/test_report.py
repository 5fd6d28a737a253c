"""The report's files: everything is in them, the page needs nothing else, and the terminal says the same."""

from __future__ import annotations

import io
import json
import math
import re
from pathlib import Path

import pytest

from vllm.testing.catalogue import all_laws
from vllm.testing.report import Declined, Measurement, Outcome, Report, Status, Verdict, write_report
from vllm.testing.terminal import LiveTable


def outcome(status: Status, law: str = "attention.ragged_rows", **changes: object) -> Outcome:
    defaults = {
        "law": law,
        "area": law.partition(".")[0],
        "sentence": "Rows <are> equal.",
        "dtype": "float32",
        "seconds": 0.25,
    }
    return Outcome(status=status, **{**defaults, **changes})  # type: ignore[arg-type]


FAILED = outcome(
    Status.FAILED,
    detail="found <3> & more",
    measurements=(
        Measurement(what="row 1", error=1e-6, limit=1e-5),
        Measurement(what="row 2", error=math.inf, limit=1e-5),
    ),
)
PASSED = outcome(Status.PASSED, "ops.linear", measurements=(Measurement(what="x", error=5e-6, limit=1e-5),))
EXCUSED = outcome(Status.EXCUSED, "generation.captured_equals_eager", detail="graph capture: unsupported (no graphs)")
NOT_HERE = outcome(Status.NOT_TESTABLE, "collectives.all_reduce", detail="device_count() is 1 here")
ONCE = outcome(Status.PASSED, "contract.seeds_repeat", dtype=None)


def report(*outcomes: Outcome) -> Report:
    return Report(
        platform="chip",
        platform_path="chip.Platform",
        device="a chip",
        versions={"vllm-core": "1.2"},
        started="2026-11-22T09:00:00+00:00",
        dtypes=("float32",),
        quick=False,
        outcomes=outcomes,
        declined=(Declined(feature="graph_capture", support="unsupported", why="no graphs"),),
        seconds=1.5,
    )


def test_the_worst_measurement_is_the_one_nearest_its_limit() -> None:
    assert FAILED.worst is not None and FAILED.worst.what == "row 2"
    assert ONCE.worst is None


def test_failed_and_error_fail_the_run() -> None:
    assert report(PASSED, EXCUSED, ONCE).passed
    assert not report(PASSED, FAILED).passed
    assert not report(outcome(Status.ERROR)).passed
    assert not report().passed


def test_what_nobody_could_check_is_no_proof() -> None:
    assert report(PASSED).verdict is Verdict.KEPT
    assert report(PASSED, FAILED, NOT_HERE).verdict is Verdict.BROKEN
    for outcomes in ((), (EXCUSED,), (EXCUSED, NOT_HERE)):
        assert report(*outcomes).verdict is Verdict.UNTESTED


def test_what_is_not_testable_is_told_everywhere_with_its_reason(tmp_path: Path) -> None:
    told = report(NOT_HERE, EXCUSED)
    as_json, page = write_report(told, tmp_path)
    read = json.loads(as_json.read_text())
    assert (read["verdict"], read["passed"]) == ("untested", False)
    assert (read["outcomes"][0]["status"], read["outcomes"][0]["detail"]) == (
        "not testable",
        "device_count() is 1 here",
    )
    assert "<em>was not tested</em>" in page.read_text() and "device_count() is 1 here" in page.read_text()
    out = io.StringIO()
    table = LiveTable(out)
    table.finish(NOT_HERE)
    table.close(told)
    assert "not here" in out.getvalue() and "device_count() is 1 here" in out.getvalue()
    assert "chip was NOT TESTED: none of these laws could be checked here: 1 excused, 1 not testable" in out.getvalue()


def test_what_a_law_left_out_is_told_though_it_holds(tmp_path: Path) -> None:
    held = outcome(Status.PASSED, detail="sleep level 2, which is refused")
    _, page = write_report(report(held), tmp_path)
    assert "sleep level 2, which is refused" in page.read_text()
    out = io.StringIO()
    LiveTable(out).finish(held)
    assert "sleep level 2, which is refused" in out.getvalue()


def test_no_number_is_red(tmp_path: Path) -> None:
    measured = (Measurement(what="x", error=1e-6, limit=1e-5), Measurement(what="y", error=math.nan, limit=1e-5))
    broken = outcome(Status.FAILED, measurements=measured)
    assert broken.worst is not None and broken.worst.what == "y"
    _, page = write_report(report(broken), tmp_path)
    assert 'class="bar over"><i style="width:100.0%">' in page.read_text() and "no number of 1e-5" in page.read_text()


def test_json_holds_everything(tmp_path: Path) -> None:
    path, _ = write_report(report(PASSED, FAILED, EXCUSED, ONCE), tmp_path / "new" / "folder")
    read = json.loads(path.read_text())
    assert read["passed"] is False
    assert [o["status"] for o in read["outcomes"]] == ["passed", "failed", "excused", "passed"]
    assert read["outcomes"][0]["measurements"] == [{"what": "x", "error": 5e-6, "limit": 1e-5}]
    assert read["outcomes"][1]["measurements"][1]["error"] is None, "JSON has no infinity"
    assert read["declined"] == [{"feature": "graph_capture", "support": "unsupported", "why": "no graphs"}]
    assert read["versions"] == {"vllm-core": "1.2"}


@pytest.fixture
def page(tmp_path: Path) -> str:
    _, path = write_report(report(PASSED, FAILED, EXCUSED, ONCE), tmp_path)
    return path.read_text()


def test_the_page_says_what_broke_and_what_is_declined(page: str) -> None:
    assert "<em>breaks 1 law</em>" in page
    assert "found &lt;3&gt; &amp; more" in page and "<3>" not in page
    assert "no graphs" in page
    assert "Rows &lt;are&gt; equal." in page


def test_bars_are_shares_of_the_limit(page: str) -> None:
    assert 'class="bar"><i style="width:50.0%">' in page
    assert 'class="bar over"><i style="width:100.0%">' in page
    assert "5e-6 of 1e-5" in page and "∞ of 1e-5" in page


def test_the_page_needs_nothing_else(page: str) -> None:
    assert not re.search(r"https?://|<script|<link|<img|src=|@import|url\(", page)


def test_tags_are_balanced(page: str) -> None:
    opened = re.findall(r"<([a-z0-9]+)[ >]", page)
    closed = re.findall(r"</([a-z0-9]+)>", page)
    void = {"meta"}
    assert sorted(tag for tag in opened if tag not in void) == sorted(closed)


def test_a_page_of_every_law_shows_every_law(tmp_path: Path) -> None:
    outcomes = [
        outcome(Status.PASSED, law.full_name, sentence=law.sentence, dtype="float32" if law.per_dtype else None)
        for law in all_laws()
    ]
    _, path = write_report(report(*outcomes), tmp_path)
    text = path.read_text()
    assert all(law.name.replace("_", " ") in text for law in all_laws())
    assert "<em>keeps every law</em>" in text


def test_the_terminal_shows_a_line_per_law_and_what_broke() -> None:
    out = io.StringIO()
    table = LiveTable(out)
    law = all_laws()[0]
    table.start(law, None)
    for each in (ONCE, PASSED, FAILED, EXCUSED):
        table.finish(each)
    table.close(report(ONCE, PASSED, FAILED, EXCUSED))
    lines = out.getvalue().splitlines()
    assert lines[:2] == ["", "contract"]
    assert lines[3].split() == ["ok", "fp32", "linear", "5.0e-06", "of", "1e-05", "0.25", "s"]
    assert "  | found <3> & more" in lines
    assert "  graph_capture: unsupported (no graphs)" in lines
    assert lines[-1] == "chip BREAKS the laws on float32: 2 passed, 1 failed, 1 excused, 1.5 s."
    assert "\033" not in out.getvalue(), "no colours where nobody sees them"
