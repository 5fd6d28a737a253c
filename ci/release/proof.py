"""Owns what a release must show on installed wheels: that they run alone, and that a plugin keeps the conformance kit's laws."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ci.environments import Environment
from ci.matrix.declared import Variant, load
from ci.packages import CANN_SIM, CORE, PLUGINS, Package
from ci.processes import ended
from ci.release.alone import attempt, clean_environment
from ci.release.refusal import Refused
from ci.wheels import CONTINUATION, NATIVE, PROMPT, Outcome, expect

__all__ = ["environment_for", "keep_the_laws", "needs_simulator", "run_alone", "versions_of"]


_PAIR = ("torch", "numpy", "pyyaml")
"""What torch_npu runs on; cann-sim takes whatever pair is installed, so its metadata names none."""


_NO_COMPILER = {"CC": "/no/compiler/on/the/target", "CXX": "/no/compiler/on/the/target"}
"""Unless a platform says that it needs one, its wheel must do without."""


def way_of(entry: Package) -> Variant | None:
    """How a platform is run on a machine without its chip: its first variant in ci/matrix.toml. None for other packages."""
    return load().row(entry).variants[0] if entry in PLUGINS else None


def needs_simulator(entry: Package) -> bool:
    way = way_of(entry)
    return way is not None and CANN_SIM in way.beside


def environment_for(path: Path, entry: Package, wheels: Sequence[Path]) -> Environment:
    """A clean environment in which the platform can be run: the wheels, what they ask for, and a vendor's torch package."""
    if entry is CANN_SIM:
        return clean_environment(path, wheels, more=_PAIR, alone=("torch-npu",))
    way = way_of(entry)
    vendors = [need.package for need in way.needs if need.package] if way else []
    return clean_environment(path, wheels, alone=vendors)


def _run(environment: Environment, entry: Package, home: Path, *words: str) -> Outcome:
    way = way_of(entry)
    assert way is not None, f"{entry.name} is no platform"
    compilers = {} if any(need.program for need in way.needs) else _NO_COMPILER
    variables = {"VLLM_PLATFORM": entry.name} | compilers | dict(way.environment)
    return attempt(environment, home, [*way.under, *words], **variables)


def keep_the_laws(environment: Environment, entry: Package, home: Path, report: Path, *, quick: bool) -> None:
    """Run the conformance kit on the plugin; its reports go into `report`. Raises `Refused` unless the laws hold."""
    way = way_of(entry)
    options = [*((way.kit or ()) if way else ()), *(["--quick"] if quick else [])]
    done = _run(environment, entry, home, "vllm", "plugin", "test", entry.name, *options, "--report", str(report))
    if done.code != 0:
        end = "\n".join(done.text.splitlines()[-25:])
        raise Refused(
            f"{entry.distribution} does not keep the conformance kit's laws ({ended(done.code)}):\n{end}",
            remedy=f"see {report / 'report.html'}",
        )


def run_alone(environment: Environment, entry: Package, home: Path) -> None:
    """The installed wheel does the main job of its kind, in an empty folder; raises `RuntimeError` with the output if not."""
    if entry is CORE:
        said = attempt(environment, home, ["vllm", "generate", PROMPT])
        expect(said, succeeds=False, saying=("No platform plugin is installed", "vllm-plugin-cpu-ref"))
    elif entry is CANN_SIM:
        code = "import torch, torch_npu; print((torch.ones(3).npu() + 1).cpu())"
        said = attempt(environment, home, ["cann-sim", "run", "--", "python", "-c", code])
        expect(said, succeeds=True, saying=("tensor([2., 2., 2.])",))
    else:
        said = _run(environment, entry, home, "vllm", "generate", PROMPT)
        compiled = [] if entry.extension is None else [NATIVE]
        expect(said, succeeds=True, saying=(CONTINUATION, f"Platform plugin {entry.name} is activated", *compiled))


def versions_of(environment: Environment, home: Path, *distributions: str) -> dict[str, str]:
    """Installed versions; empty for what is not there. A version's local part says who built it and is left out."""
    code = (
        "import importlib.metadata as m, sys\n"
        "known = {d.name.lower(): d.version for d in m.distributions()}\n"
        "print(*(known.get(name, '') for name in sys.argv[1:]), sep='\\n')"
    )
    said = attempt(environment, home, [environment.python, "-c", code, *distributions])
    lines = said.text.splitlines()
    return {name: line.partition("+")[0] for name, line in zip(distributions, lines, strict=True)}
