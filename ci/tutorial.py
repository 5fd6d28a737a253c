"""Runs `docs/your-chip-in-an-hour.md` as written: its bash blocks in order, in one shell, from wheels, in an empty folder.

A `text` block right after a bash block holds what that block must say, line by line and in order; blanks count as one.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ci.environments import CONSTRAINTS, Environment, clean_environ
from ci.packages import CORE, ROOT, package
from ci.processes import ended, run_said
from ci.wheels import build

__all__ = ["PAGE", "Step", "check", "missing_lines", "run_steps", "steps"]

PAGE = ROOT / "docs" / "your-chip-in-an-hour.md"
_BLOCK = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_LIMIT_S = 1200


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One bash block. `line` is where it begins in the page, counted from 1."""

    line: int
    script: str
    says: tuple[str, ...]


def steps(page: str) -> list[Step]:
    """The page's bash blocks, each with the lines of the text block that follows it."""
    found: list[Step] = []
    for block in _BLOCK.finditer(page):
        if block["language"] == "bash":
            found.append(Step(line=page.count("\n", 0, block.start()) + 1, script=block["text"], says=()))
        elif block["language"] == "text" and found:
            last = found[-1]
            found[-1] = Step(line=last.line, script=last.script, says=tuple(block["text"].splitlines()))
    return found


def missing_lines(output: str, wanted: Sequence[str]) -> list[str]:
    """The wanted lines that `output` does not hold, in their order; runs of blanks are alike."""
    lines = iter(_squeezed(line) for line in output.splitlines())
    return [text for text in wanted if not any(_squeezed(text) in line for line in lines)]


def _squeezed(line: str) -> str:
    return " ".join(line.split())


def run_steps(todo: Sequence[Step], folder: Path, env: dict[str, str]) -> None:
    """Run the steps in one shell in `folder`; raises `RuntimeError` that names the line of the page where it fails."""
    script = "\n".join(["set -e -o pipefail", *_marked(todo)])
    ending, said = run_said(["bash", "-c", script], folder=folder, env=env, limit_s=_LIMIT_S)
    print(said, flush=True)
    parts = re.split(r"^=== line \d+\n", f"{said}\n", flags=re.MULTILINE)[1:]
    for number, (step, output) in enumerate(zip(todo, parts, strict=False), start=1):
        missing = missing_lines(output, step.says)
        failed = ending.code != 0 and number == len(parts)
        if failed or missing:
            what = ended(ending.code) if failed else f"did not say {', '.join(map(repr, missing))}"
            raise RuntimeError(f"{PAGE.name}:{step.line} {what}:\n{step.script}\n{output}")
    if len(parts) != len(todo):
        raise RuntimeError(f"{PAGE.name}: {ended(ending.code)} after {len(parts)} of its {len(todo)} steps:\n{said}")


def _marked(todo: Sequence[Step]) -> Iterator[str]:
    for step in todo:
        yield f"echo '=== line {step.line}'"
        yield step.script


def check(tools: Environment, work: Path) -> None:
    """Build the wheels and run the page below `work`."""
    shutil.rmtree(work, ignore_errors=True)
    folder = work / "home"
    folder.mkdir(parents=True)
    for name in (CORE.name, "cpu_ref"):
        build(tools, package(name), work / "dist")
    # Beside where this machine keeps its torch; as addresses, since pip splits at blanks, and a path may hold some.
    links = f"{os.environ.get('PIP_FIND_LINKS', '')} {(work / 'dist').as_uri()}".strip()
    # PIP_NO_COMPILE=1 would mean that it compiles: pip takes the value for that of the option which the name denies.
    pip = {"PIP_FIND_LINKS": links, "PIP_CONSTRAINT": CONSTRAINTS.as_uri(), "PIP_QUIET": "1", "PIP_COMPILE": "0"}
    env = clean_environ() | pip | {"OMP_NUM_THREADS": "1"}
    run_steps(steps(PAGE.read_text(encoding="utf-8")), folder, env)
