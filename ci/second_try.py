"""pytest, two tests at a time; a few that fail then are run once more, one at a time, and decide.

Some tests start servers and processes and wait for them. On a machine with two cores, beside another such test, one
of hundreds may come too late on a bad day, and would cost the whole run. Alone it has no such excuse. A test that passes
only then is flaky, and must be seen: its name and its first failure are said again at the end of `.ci/run`.

`python -m ci.second_try FOLDER COMMAND…` appends pytest's options to the command; what failed is kept in FOLDER.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

__all__ = ["MOST", "PASSED", "TWO_AT_A_TIME", "try_twice"]

TWO_AT_A_TIME = ("-n", "2", "--dist", "loadfile")
MOST = 5
"""More failures than these are no accident."""
PASSED = "passed only on the second try, alone"
_TESTS_FAILED = 1
"""pytest's exit status; any other says that it could not do its work, and there is nothing to try again."""


def try_twice(folder: Path, command: Sequence[str], first: Sequence[str] = TWO_AT_A_TIME) -> int:
    """pytest's exit status, which is 0 where every test passed on its first or second try."""
    shutil.rmtree(folder, ignore_errors=True)
    cache = ("-o", f"cache_dir={folder.resolve()}")
    code = subprocess.call([*command, *first, *cache])
    failed = _failed(folder)
    if code != _TESTS_FAILED or not 0 < len(failed) <= MOST:
        return code
    _say("run once more, one at a time, because they failed beside others", failed)
    report = folder / "second.xml"
    again = ("--last-failed", "--last-failed-no-failures=none", f"--junitxml={report.resolve()}")
    code = subprocess.call([*command, *again, *cache])
    if code == 0 and _passed(report) < len(failed):
        return _TESTS_FAILED  # one was skipped, or was not there again: nothing is known of it
    if code == 0:
        _say(PASSED, failed)
    return code


def _failed(folder: Path) -> list[str]:
    """As pytest remembers them."""
    remembered = folder / "v" / "cache" / "lastfailed"
    return sorted(json.loads(remembered.read_text(encoding="utf-8"))) if remembered.is_file() else []


def _passed(report: Path) -> int:
    """How many did, where none failed."""
    return sum(case.find("skipped") is None for case in ET.parse(report).iter("testcase"))


def _say(what: str, names: Sequence[str]) -> None:
    print(f"\n######## {what}:", *names, sep="\n  ", flush=True)


if __name__ == "__main__":
    sys.exit(try_twice(Path(sys.argv[1]), sys.argv[2:]))
