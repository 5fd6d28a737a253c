"""Builds every package's sdist and wheel, and proves the wheels alone in a clean environment, outside the repository.

First core by itself: the command must say what to install. Then the plugins whose hardware is absent: each must give
its reason. Then cpu_ref: the main job runs.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from ci.environments import Environment, clean_environ, create, run
from ci.packages import CORE, PACKAGES, Package, package
from ci.recipes import MAIN_PYTHON

__all__ = ["Outcome", "build", "check", "expect"]

PROMPT, CONTINUATION = "Count: 17 18 19", "20 21 22"
_FALLBACK = package("cpu_ref")
_REASONS = ("torch_npu is not installed", "torch_sendnn is not installed")


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What a command did. `text` is its standard output and standard error together."""

    command: tuple[str, ...]
    code: int
    text: str


def build(tools: Environment, entry: Package, out: Path) -> Path:
    """The package's wheel, built from its sdist, which lies beside it in `out`."""
    run(tools.python, "-m", "build", "--no-isolation", "--outdir", out, entry.path)
    (wheel,) = out.glob(entry.wheel_glob)
    return wheel


def expect(outcome: Outcome, *, succeeds: bool, saying: tuple[str, ...]) -> None:
    """Raises `RuntimeError` with the whole output when the command did not end as expected or did not say this."""
    missing = [text for text in saying if text not in outcome.text]
    if (outcome.code == 0) != succeeds or missing:
        wanted = "succeed" if succeeds else "fail"
        raise RuntimeError(
            f"`{' '.join(outcome.command)}` should {wanted} and say {', '.join(map(repr, saying))}; it ended with "
            f"{outcome.code} and did not say {', '.join(map(repr, missing)) or 'anything wrong'}:\n{outcome.text}"
        )


def _vllm(environment: Environment, home: Path, *arguments: str) -> Outcome:
    """Run the installed `vllm` in an empty folder."""
    command = (str(environment.script("vllm")), *arguments)
    print("$ vllm", *arguments, flush=True)
    done = subprocess.run(
        command, cwd=home, env=clean_environ(), capture_output=True, text=True, timeout=300, check=False
    )
    print(done.stdout, done.stderr, sep="", flush=True)
    return Outcome(command=command, code=done.returncode, text=done.stdout + done.stderr)


def check(tools: Environment, work: Path) -> None:
    """Build all packages below `work` and prove their wheels; raises when one fails."""
    dist, home = work / "dist", work / "home"
    home.mkdir(parents=True, exist_ok=True)
    for old in dist.glob("*"):
        old.unlink()
    wheels = {entry.name: build(tools, entry, dist) for entry in PACKAGES}
    environment = create(work / "clean", MAIN_PYTHON)

    environment.install(wheels[CORE.name])
    alone = _vllm(environment, home, "generate", PROMPT)
    expect(alone, succeeds=False, saying=("No platform plugin is installed", _FALLBACK.distribution))

    environment.install(wheels["ascend"], wheels["spyre"])
    unusable = _vllm(environment, home, "generate", PROMPT)
    expect(unusable, succeeds=False, saying=("No platform is usable here", *_REASONS, _FALLBACK.distribution))

    environment.install(wheels[_FALLBACK.name])
    generated = _vllm(environment, home, "generate", PROMPT)
    expect(generated, succeeds=True, saying=(CONTINUATION, "Platform plugin cpu_ref is activated"))
    expect(_vllm(environment, home, "plugin", "list"), succeeds=True, saying=(_FALLBACK.name, *_REASONS))
