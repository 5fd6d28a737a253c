"""Builds every package's sdist and wheel, and proves the wheels alone in a clean environment, outside the repository.

First core by itself: the command must say what to install. Then the plugins whose hardware is absent: each must give
its reason. Then cpu_ref: the main job and the README's Python example run, also beside a torch_npu that finds no CANN. Last,
on the simulated CANN, compiled from its wheel, the main job runs on ascend.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from ci.environments import Environment, clean_environ, create, run
from ci.packages import CANN_SIM, CORE, PACKAGES, ROOT, Package, package
from ci.recipes import MAIN_PYTHON

__all__ = ["CONTINUATION", "PROMPT", "Outcome", "build", "check", "expect", "readme_example"]

PROMPT, CONTINUATION = "Count: 17 18 19", "20 21 22"
_FALLBACK = package("cpu_ref")
_REASONS = ("torch_npu is not installed", "torch_sendnn, the card's compiler, is not installed")


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


def readme_example(readme: str) -> str:
    """The README's Python example; raises `ValueError` unless there is exactly one."""
    (example,) = re.findall(r"^```python\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    return str(example)


def _outcome(home: Path, *command: str | Path) -> Outcome:
    """Run an installed command in the empty folder `home`."""
    words = tuple(map(str, command))
    print("$", *words, flush=True)
    done = subprocess.run(
        words, cwd=home, env=clean_environ(), capture_output=True, text=True, timeout=300, check=False
    )
    print(done.stdout, done.stderr, sep="", flush=True)
    return Outcome(command=words, code=done.returncode, text=done.stdout + done.stderr)


def _generates(environment: Environment, home: Path) -> None:
    """The main job, from the command line and from Python."""
    saying = (CONTINUATION, "Platform plugin cpu_ref is activated")
    expect(_outcome(home, environment.script("vllm"), "generate", PROMPT), succeeds=True, saying=saying)
    example = readme_example((ROOT / "README.md").read_text())
    expect(_outcome(home, environment.python, "-c", example), succeeds=True, saying=(CONTINUATION,))


def _simulates(environment: Environment, simulator: Path, home: Path) -> None:
    """torch_npu without CANN disturbs nobody; with the simulated one, ascend does the main job."""
    environment.install("--no-deps", "torch-npu")
    _generates(environment, home)
    environment.install(simulator)
    cann_sim = environment.script("cann-sim")
    run(cann_sim, "build")
    saying = (CONTINUATION, "Platform plugin ascend is activated")
    generate = (environment.script("vllm"), "generate", PROMPT)
    expect(_outcome(home, cann_sim, "run", "--", *generate), succeeds=True, saying=saying)


def check(tools: Environment, work: Path) -> None:
    """Build all packages below `work` and prove their wheels; raises when one fails."""
    dist, home = work / "dist", work / "home"
    shutil.rmtree(work, ignore_errors=True)
    home.mkdir(parents=True)
    wheels = {entry.name: build(tools, entry, dist) for entry in PACKAGES}
    environment = create(work / "clean", MAIN_PYTHON)
    vllm = environment.script("vllm")

    environment.install(wheels[CORE.name])
    alone = _outcome(home, vllm, "generate", PROMPT)
    expect(alone, succeeds=False, saying=("No platform plugin is installed", _FALLBACK.distribution))

    environment.install(wheels["ascend"], wheels["spyre"])
    unusable = _outcome(home, vllm, "generate", PROMPT)
    expect(unusable, succeeds=False, saying=("No platform is usable here", *_REASONS, _FALLBACK.distribution))

    environment.install(wheels[_FALLBACK.name])
    _generates(environment, home)
    expect(_outcome(home, vllm, "plugin", "list"), succeeds=True, saying=(_FALLBACK.name, *_REASONS))
    _simulates(environment, wheels[CANN_SIM.name], home)
