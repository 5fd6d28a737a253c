"""Builds every package's sdist and wheel, and proves the wheels alone in a clean environment, outside the repository.

First core by itself: the command must say what to install. Then the plugins whose hardware is absent: each must give
its reason. Then cpu_ref: the main job and the README's Python example run on its compiled module, also beside a torch_npu
that finds no CANN. Last, on the simulated CANN, compiled from its wheel, the main job runs on ascend.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from ci.environments import Environment, clean_environ, create, run
from ci.extensions import BUILT
from ci.packages import CANN_SIM, CORE, PACKAGES, ROOT, Package, package
from ci.processes import ended, run_said
from ci.recipes import MAIN_PYTHON
from ci.release.native import as_manylinux, check_machine_code

__all__ = ["CONTINUATION", "NATIVE", "PROMPT", "Outcome", "run_there", "build", "check", "expect", "readme_example"]

PROMPT, CONTINUATION = "Count: 17 18 19", "20 21 22"
NATIVE = "CPU kernels: native"
"""What cpu_ref says where it uses its compiled module."""
_FALLBACK = package("cpu_ref")
_REASONS = ("torch_npu is not installed", "torch_sendnn, the card's compiler, is not installed")


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What a command did. `text` is its standard output and standard error together; `code` None: its time ran out."""

    command: tuple[str, ...]
    code: int | None
    text: str


def build(tools: Environment, entry: Package, out: Path) -> Path:
    """The package's wheel, built from its sdist, which lies beside it in `out`."""
    run(tools.python, "-m", "build", "--no-isolation", "--outdir", out, entry.path, env=BUILT)
    (wheel,) = out.glob(entry.wheel_glob)
    return wheel


def expect(outcome: Outcome, *, succeeds: bool, saying: tuple[str, ...]) -> None:
    """Raises `RuntimeError` with the whole output when the command did not end as expected or did not say this."""
    missing = [text for text in saying if text not in outcome.text]
    if outcome.code is None or (outcome.code == 0) != succeeds or missing:
        wanted = "succeed" if succeeds else "fail"
        raise RuntimeError(
            f"`{' '.join(outcome.command)}` should {wanted} and say {', '.join(map(repr, saying))}, but: "
            f"{ended(outcome.code)}, did not say {', '.join(map(repr, missing)) or 'anything wrong'}:\n{outcome.text}"
        )


def readme_example(readme: str) -> str:
    """The README's Python example; raises `ValueError` unless there is exactly one."""
    (example,) = re.findall(r"^```python\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    return str(example)


def run_there(
    home: Path, *command: str | Path, env: Mapping[str, str] = MappingProxyType({}), limit_s: float = 300
) -> Outcome:
    """Run an installed command in the folder `home`, with this in its environment; nothing of it lives on."""
    words = tuple(map(str, command))
    print("$", *words, flush=True)
    ending, said = run_said(words, folder=home, env=clean_environ() | dict(env), limit_s=limit_s)
    print(said, flush=True)
    return Outcome(command=words, code=ending.code, text=said)


def _portable(tools: Environment, entry: Package, out: Path) -> Path:
    """The package's wheel as a release would give it to any machine."""
    wheel = as_manylinux(build(tools, entry, out), tools)
    print(f"{wheel.name}: {check_machine_code(entry, wheel, tools)}", flush=True)
    return wheel


def _generates(environment: Environment, home: Path) -> None:
    """The main job, from the command line and from Python."""
    saying = (CONTINUATION, "Platform plugin cpu_ref is activated", NATIVE)
    expect(run_there(home, environment.script("vllm"), "generate", PROMPT), succeeds=True, saying=saying)
    example = readme_example((ROOT / "README.md").read_text())
    expect(run_there(home, environment.python, "-c", example), succeeds=True, saying=(CONTINUATION,))


def _simulates(environment: Environment, simulator: Path, home: Path) -> None:
    """torch_npu without CANN disturbs nobody; with the simulated one, ascend does the main job."""
    environment.install("--no-deps", "torch-npu")
    _generates(environment, home)
    environment.install(simulator)
    cann_sim = environment.script("cann-sim")
    run(cann_sim, "build")
    saying = (CONTINUATION, "Platform plugin ascend is activated")
    generate = (environment.script("vllm"), "generate", PROMPT)
    expect(run_there(home, cann_sim, "run", "--", *generate), succeeds=True, saying=saying)


def check(tools: Environment, work: Path) -> None:
    """Build all packages below `work` and prove their wheels; raises when one fails."""
    dist, home = work / "dist", work / "home"
    shutil.rmtree(work, ignore_errors=True)
    home.mkdir(parents=True)
    wheels = {entry.name: _portable(tools, entry, dist) for entry in PACKAGES}
    environment = create(work / "clean", MAIN_PYTHON)
    vllm = environment.script("vllm")

    environment.install(wheels[CORE.name])
    alone = run_there(home, vllm, "generate", PROMPT)
    expect(alone, succeeds=False, saying=("No platform plugin is installed", _FALLBACK.distribution))

    environment.install(wheels["ascend"], wheels["spyre"])
    unusable = run_there(home, vllm, "generate", PROMPT)
    expect(unusable, succeeds=False, saying=("No platform is usable here", *_REASONS, _FALLBACK.distribution))

    environment.install(wheels[_FALLBACK.name])
    _generates(environment, home)
    expect(run_there(home, vllm, "plugin", "list"), succeeds=True, saying=(_FALLBACK.name, *_REASONS))
    _simulates(environment, wheels[CANN_SIM.name], home)
