"""Which failures get a second try, and what it proves. (`test_last_words.py` has one that passes, two at a time first.)"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ci.second_try import MOST, try_twice

HEAD = """
from pathlib import Path
import pytest

tries = Path(__file__).with_suffix(".tries")
first = not tries.exists()
tries.write_text(tries.read_text() + "." if tries.exists() else ".")

def test_fine():
    pass
"""


@pytest.fixture(autouse=True)
def starts_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


def tries(folder: Path, body: str, *first: str) -> tuple[int, int]:
    """Exit status, and how often the file was run."""
    file = folder / "test_it.py"
    file.write_text(HEAD + body)
    code = try_twice(folder / "kept", [sys.executable, "-m", "pytest", "--rootdir", str(folder), str(file)], first)
    return code, len(file.with_suffix(".tries").read_text())


def test_what_passes_alone_is_green_and_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    body = '@pytest.mark.parametrize("text", ["a b", "c[d]"])\ndef test_it(text):\n    assert not first\n'
    assert tries(tmp_path, body) == (0, 2)
    said = capfd.readouterr().out
    names = "\n  test_it.py::test_it[a b]\n  test_it.py::test_it[c[d]]\n"
    assert f"######## passed only on the second try, alone:{names}" in said
    assert "= 2 passed, 1 deselected in" in said  # the third had passed


def test_what_fails_twice_is_red(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert tries(tmp_path, "def test_it():\n    assert 0\n\ndef test_other():\n    assert not first\n") == (1, 2)
    assert "passed only" not in capfd.readouterr().out


def test_what_is_skipped_then_has_not_passed(tmp_path: Path) -> None:
    assert tries(tmp_path, "def test_it():\n    first or pytest.skip()\n    assert 0\n") == (1, 2)


def test_what_is_not_there_again_has_not_passed(tmp_path: Path) -> None:
    body = "def test_other():\n    assert not first\n\nif first:\n    def test_it():\n        assert 0\n"
    assert tries(tmp_path, body) == (1, 2)


def test_many_failures_are_no_accident(tmp_path: Path) -> None:
    body = f'@pytest.mark.parametrize("number", range({MOST + 1}))\ndef test_it(number):\n    assert not first\n'
    assert tries(tmp_path, body) == (1, 1)


def test_a_file_that_cannot_be_read_gets_no_second_try(tmp_path: Path) -> None:
    assert tries(tmp_path, "first and unknown\n")[0] == pytest.ExitCode.INTERRUPTED


def test_a_worker_that_dies_names_its_test(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    body = "def test_it():\n    import os\n    os._exit(9)\n"
    assert tries(tmp_path, body, "-p", "xdist", "-n", "1")[0] != 0
    assert (
        "######## run once more, one at a time, because they failed beside others:\n  test_it.py::test_it\n"
        in capfd.readouterr().out
    )


def test_what_was_kept_of_another_run_does_not_count(tmp_path: Path) -> None:
    assert tries(tmp_path, "def test_it():\n    assert 0\n")[0] == 1
    assert tries(tmp_path, "")[0] == 0
