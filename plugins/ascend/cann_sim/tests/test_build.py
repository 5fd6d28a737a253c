"""What is compiled when, told by a stand-in for the compiler that notes what it was asked for; the real one runs everywhere else."""

from __future__ import annotations

import multiprocessing
import os
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from cann_sim import BuildError, build, cache, place
from cann_sim.build import built
from cann_sim.libraries import LIBRARIES

if find_spec("torch_npu") is None:
    pytest.skip("torch_npu is not installed", allow_module_level=True)

SOURCES = [source for library in LIBRARIES for source in library.sources()]
COMPILER = """#!/bin/sh
if [ "$1" = -dumpfullversion ]; then echo 13.2.0; exit; fi
case "$*" in *{refused}*) echo "no, not this" >&2; exit 1;; esac
while [ $# -gt 0 ]; do
  if [ "$1" = -o ]; then echo made > "$2"; echo "$2" >> {log}; fi
  shift
done
"""


class StandIn:
    """The compiler that `build` finds, and its notes."""

    def __init__(self, folder: Path) -> None:
        self.path, self.log = folder / "g++", folder / "log"
        self.refuse("nothing-of-this-name")

    def refuse(self, name: str) -> None:
        self.path.write_text(COMPILER.format(log=self.log, refused=name))
        self.path.chmod(0o755)

    def notes(self) -> tuple[int, int]:
        """Objects and libraries made since the last time."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return sum(".o.unfinished" in line for line in lines), sum(line.endswith(".so") for line in lines)


@pytest.fixture
def compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    stand_in = StandIn(tmp_path)
    monkeypatch.setenv("CXX", str(stand_in.path))
    monkeypatch.setenv("VLLM_CACHE_ROOT", str(tmp_path / "cache"))
    return stand_in


def test_everything_once_and_then_nothing(compiler: StandIn) -> None:
    assert built() is None
    toolkit = build()
    assert compiler.notes() == (len(SOURCES), len(LIBRARIES))
    assert build() == toolkit == built()
    assert compiler.notes() == (0, 0)
    build(force=True)
    assert compiler.notes() == (len(SOURCES), len(LIBRARIES))


def test_a_failure_leaves_no_toolkit_and_keeps_what_was_compiled(compiler: StandIn) -> None:
    compiler.refuse("segment.cpp")
    with pytest.raises(BuildError, match=r"(?s)compiling collectives/segment\.cpp failed.*no, not this"):
        build()
    assert built() is None
    assert compiler.notes() == (len(SOURCES) - 1, 0)
    compiler.refuse("nothing-of-this-name")
    build()
    assert compiler.notes() == (1, len(LIBRARIES))


def test_two_processes_build_once(compiler: StandIn) -> None:
    processes = [multiprocessing.get_context("spawn").Process(target=build) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=300)
    assert [process.exitcode for process in processes] == [0, 0]
    assert compiler.notes() == (len(SOURCES), len(LIBRARIES))


def test_the_place_is_named_by_the_pair(compiler: StandIn) -> None:
    here = place.place()
    assert here.folder.name.startswith(f"torch-{here.pair.torch.version}-")
    assert f"--torch_npu-{here.pair.torch_npu.version}-" in here.folder.name


def aged(path: Path, hours: int) -> None:
    os.utime(path, times=(0, time.time() - hours * 3600))


def kept(toolkits: Path, objects: Path) -> tuple[set[str], set[str]]:
    cache.prune(toolkits, objects)
    return {path.name for path in toolkits.iterdir()}, {path.name for path in objects.iterdir()}


def test_what_is_old_is_forgotten_and_what_may_be_in_use_is_kept(tmp_path: Path) -> None:
    toolkits, objects = tmp_path / "toolkits", tmp_path / "objects"
    for hours in (1, 2, 3, 4, 23, 25, 50):
        (toolkits / f"{hours}").mkdir(parents=True)
        aged(toolkits / f"{hours}", hours)
    objects.mkdir()
    for days in (13, 15):
        (objects / f"{days}.o").touch()
        aged(objects / f"{days}.o", days * 24)
    assert kept(toolkits, objects) == ({"1", "2", "3", "4", "23"}, {"13.o"})


def test_the_newest_toolkits_are_kept_however_old(tmp_path: Path) -> None:
    for days in range(10, 16):
        (tmp_path / "toolkits" / f"{days}").mkdir(parents=True)
        aged(tmp_path / "toolkits" / f"{days}", days * 24)
    (tmp_path / "objects").mkdir()
    assert kept(tmp_path / "toolkits", tmp_path / "objects") == ({"10", "11", "12", "13"}, set())
