"""What failed in a run of nox, said again below everything else: of a long log often only the end is kept.

`python -m ci.last_words LOG` reads what nox and its sessions have said. Of pytest's report it keeps the failures and the
summary; what a test had captured (the log of a server, say) loses all but its end.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from ci.second_try import PASSED

__all__ = ["again"]

LINES = 120
"""Shared by the sessions that have something to say."""
CAPTURED_LINES = 12
_WIDTH = 300
_TOLD = ("FAILURES", "ERRORS", "short test summary info")
_TITLE = re.compile(r"^={2,} (.+?) ={2,}$", re.MULTILINE)
_CAPTURED = re.compile(r"^-{2,} Captured .+ -{2,}$")
_TEST = re.compile(r"^_{2,} .+ _{2,}$")


def again(log: str) -> list[str]:
    """The end of each failed session, and of each where a test passed only on its second try."""
    telling = [(name, verdict, said) for name, said in _sessions(log) if (verdict := _verdict(name, said))]
    lines: list[str] = []
    for name, verdict, said in telling:
        lines += ["", f"######## {name}: {verdict}", *_end(_brief(said), LINES // len(telling))]
    return lines


def _sessions(log: str) -> Iterator[tuple[str, str]]:
    _, *parts = re.split(r"^nox > Running session (.+)$", log, flags=re.MULTILINE)
    for name, said in zip(parts[::2], parts[1::2], strict=True):
        yield name, said.partition("nox > Ran ")[0]


def _verdict(name: str, said: str) -> str | None:
    """None where there is nothing to say again."""
    failed = re.search(rf"^nox > Session {re.escape(name)} (failed|aborted|raised|interrupted).*$", said, re.MULTILINE)
    if failed:
        return "failed"
    return PASSED if PASSED in said else None


def _brief(said: str) -> list[str]:
    """pytest's failures and summaries; of a session without them all."""
    _, *parts = _TITLE.split(said)
    sections = list(zip(parts[::2], parts[1::2], strict=True))
    if not any(title in _TOLD for title, _ in sections):
        return said.splitlines()
    return [line for title, text in sections for line in _section(title, text)]


def _section(title: str, text: str) -> list[str]:
    """Of the text of one; what follows pytest's last line, `1 failed in 2 s`, is said by others, and kept."""
    if title in _TOLD:
        lines = [line for line in text.splitlines() if not line.startswith("SKIPPED")]
        return [f"==== {title} ====", *_without_most_captured(lines)]
    if re.search(r"\d (failed|passed|errors?)\b", title):
        return [f"==== {title} ====", *text.splitlines()]
    return []


def _without_most_captured(lines: list[str]) -> list[str]:
    kept: list[str] = []
    captured: list[str] | None = None
    for line in lines:
        if _CAPTURED.match(line) or _TEST.match(line):
            kept += (captured or [])[-CAPTURED_LINES:]
            captured = [] if _CAPTURED.match(line) else None
            kept.append(line)
        else:
            (kept if captured is None else captured).append(line)
    return kept + (captured or [])[-CAPTURED_LINES:]


def _end(lines: list[str], most: int) -> list[str]:
    lines = [line[:_WIDTH] for line in lines if line.strip()]
    left_out = len(lines) - most
    return lines if left_out <= 0 else [f"[{left_out} lines more above]", *lines[-most:]]


if __name__ == "__main__":
    print(*again(Path(sys.argv[1]).read_text(encoding="utf-8", errors="replace")), sep="\n")
