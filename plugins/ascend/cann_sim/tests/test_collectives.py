"""HCCL between processes, through torch_npu's own process group: what comes out, and what is said when a rank does not come."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from acl_calls import Acl, runtime_library
from acl_calls import run as run_here

import cann_sim

if find_spec("torch_npu") is None:
    pytest.skip("torch_npu is not installed", allow_module_level=True)

HEALTHY = ("reductions", "rounding", "movements", "uneven", "messages", "groups", "captured")
_LIMIT_S = 500


def start(
    scenarios: tuple[str, ...], ranks: int, folder: Path, *, environ: dict[str, str] | None = None, **settings: object
) -> list[subprocess.Popen[str]]:
    base = {name: text for name, text in os.environ.items() if not name.startswith(("CANN_SIM_", "ASCEND_"))}
    base |= {"OMP_NUM_THREADS": "1", "WORLD_SIZE": str(ranks), "RANKS_STORE": str(folder / "store")} | (environ or {})
    variables = base | cann_sim.environment(base, {"devices": ranks, **settings})
    command = [sys.executable, str(Path(__file__).with_name("ranks.py")), *scenarios]
    return [
        subprocess.Popen(
            command, env=variables | {"RANK": str(rank)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for rank in range(ranks)
    ]


def answers(processes: list[subprocess.Popen[str]]) -> list[Any]:
    """What each rank printed; None for one that ended without."""
    found: list[Any] = []
    for rank, process in enumerate(processes):
        out, err = process.communicate(timeout=_LIMIT_S)
        lines = [line for line in out.splitlines() if line.startswith("{")]
        assert lines or process.returncode == 7, f"rank {rank} ended with {process.returncode}:\n{out}\n{err}"
        found.append(json.loads(lines[0]) if lines else None)
    return found


def orphans() -> set[str]:
    """Shared memory that has a name and that no process has mapped; other programs on this machine may have theirs."""
    mapped = ""
    for maps in Path("/proc").glob("[0-9]*/maps"):
        with contextlib.suppress(OSError):  # it ended meanwhile, or is another user's
            mapped += maps.read_text()
    return {str(path) for path in Path("/dev/shm").iterdir() if str(path) not in mapped}


def run(scenarios: tuple[str, ...], ranks: int, folder: Path, **settings: Any) -> list[Any]:
    before = orphans()
    found = answers(start(scenarios, ranks, folder, **settings))
    assert orphans() <= before, "shared memory was left behind"
    return found


def each(found: list[Any], scenario: str) -> list[Any]:
    return [of_rank and of_rank[scenario] for of_rank in found]


def run_one(scenario: str, ranks: int, folder: Path, **settings: Any) -> list[Any]:
    return each(run((scenario,), ranks, folder, **settings), scenario)


@pytest.fixture(scope="module", params=["async", "adversarial:5"])
def healthy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """What each of four ranks found in every scenario in which nothing fails."""
    return run(HEALTHY, 4, tmp_path_factory.mktemp("store"), streams=request.param)


def test_reductions_of_every_type(healthy: list[Any]) -> None:
    wanted = {"sum": 2 + 3 + 4 + 5, "prod": 2 * 3 * 4 * 5, "max": 5, "min": 2}
    for rank, found in enumerate(each(healthy, "reductions")):
        assert found["reduce to 1"] == ([10.0] * 3 if rank == 1 else [rank + 1.0] * 3)
        reduced = {name: value for name, value in found.items() if name != "reduce to 1"}
        assert reduced == {name: wanted[name.split()[0]] for name in reduced}, rank
        assert len(reduced) == 24


def test_sums_round_as_torchs_do(healthy: list[Any]) -> None:
    assert each(healthy, "rounding") == [{"torch.bfloat16": 0, "torch.float16": 0}] * 4


def test_movements(healthy: list[Any]) -> None:
    for rank, found in enumerate(each(healthy, "movements")):
        assert found == {
            "all_gather_into_tensor": [0.0, 1.0, 10.0, 11.0, 20.0, 21.0, 30.0, 31.0],
            "all_gather": [[0.0, 1.0], [10.0, 11.0], [20.0, 21.0], [30.0, 31.0]],
            "broadcast": [10.0, 11.0],
            "reduce_scatter": [8.0 * rank, 8.0 * rank + 4.0],
            "all_to_all": [rank + 0.0, rank + 10.0, rank + 20.0, rank + 30.0],
            "empty": [],
        }, rank


def test_uneven_all_to_all(healthy: list[Any]) -> None:
    wanted = [0.0, 1.0, 1.0, 2.0, 2.0, 2.0, 3.0, 3.0, 3.0, 3.0]
    assert each(healthy, "uneven") == [{"all_to_all_v": wanted}] * 4


def test_messages(healthy: list[Any]) -> None:
    assert each(healthy, "messages") == [{"line": True, "ring": left} for left in (3.0, 0.0, 1.0, 2.0)]


def test_groups(healthy: list[Any]) -> None:
    assert each(healthy, "groups") == [{"own": own, "whole": 6.0} for own in (2.0, 4.0, 2.0, 4.0)]


def test_inside_a_captured_graph(healthy: list[Any]) -> None:
    assert each(healthy, "captured") == [{"replays": [6.0, 10.0, 14.0]}] * 4  # sum of rank + step


def test_ranks_that_mean_different_collectives_are_told_which(tmp_path: Path) -> None:
    for found in run_one("disagreeing", 2, tmp_path):
        assert "HcclAllReduce of 4 float32 by sum" in found["error"]
        assert "HcclAllReduce of 5 float32 by sum" in found["error"]


def test_a_rank_that_dies_ends_the_wait_of_the_others(tmp_path: Path) -> None:
    *others, dead = run_one("deserted", 3, tmp_path)
    assert dead is None
    for rank, found in enumerate(others):
        assert f"HcclAllReduce on rank {rank} of 3" in found["error"]
        assert "rank 2 (process " in found["error"]
        assert "has ended" in found["error"]


def test_a_rank_that_does_not_come_is_a_time_out_that_names_it(tmp_path: Path) -> None:
    first, _ = run_one("late", 2, tmp_path, environ={"HCCL_EXEC_TIMEOUT": "3"})
    assert "HcclAllReduce on rank 0 of 2" in first["error"]
    assert "rank 0 waited for rank 1 for 3 s (HCCL_EXEC_TIMEOUT)" in first["error"]


def test_an_injected_time_out(tmp_path: Path) -> None:
    for found in run_one("failing", 2, tmp_path, faults="HcclAllReduce=timeout"):
        assert "HcclAllReduce" in found["error"]


def join_twice(acl: Acl, library: str) -> object:
    """The number of the root info's file belongs to another file by then, which has to stay open."""
    hccl, root_info, comm = ctypes.CDLL(library), ctypes.create_string_buffer(4108), ctypes.c_void_p()
    joined = [hccl.HcclGetRootInfo(root_info), hccl.HcclCommInitRootInfo(1, root_info, 0, ctypes.byref(comm))]
    other = os.open("/dev", os.O_RDONLY)
    joined.append(hccl.HcclCommInitRootInfo(1, root_info, 0, ctypes.byref(comm)))
    return joined, os.path.samestat(os.fstat(other), Path("/dev").stat())


def test_a_root_info_that_was_used_up_closes_nobodys_file() -> None:
    time_out = 9
    assert run_here(join_twice, str(Path(runtime_library()).with_name("libhccl.so"))) == [[0, 0, time_out], True]
