"""Owns what the tests of the runtime do on the real torch_npu, one function per process; `python torch_npu_scripts.py NAME`."""

from __future__ import annotations

import ctypes
import gc
import json
import sys
from typing import Any

import torch
import torch_npu  # noqa: F401 - torch may have been told not to load it by itself

from cann_sim.runtime import of_this_process

MIB = 2**20


def memory() -> dict[str, Any]:
    """128 MiB of device memory: what torch says about it, and how it runs out."""
    free, total = torch.npu.mem_get_info()
    kept = torch.ones(8 * MIB, device="npu")
    try:
        torch.empty(512 * MIB, device="npu")
    except torch.OutOfMemoryError as error:
        said = str(error)
    after = torch.npu.mem_get_info()[0]
    same = bool((kept == 1).all())
    del kept
    gc.collect()
    torch.npu.empty_cache()
    return {
        "free": free,
        "total": total,
        "after": after,
        "said": said,
        "same": same,
        "back": torch.npu.mem_get_info()[0],
    }


def graphs() -> dict[str, Any]:
    """Capture, replay, launches per step eager and captured, and a capture that reads a value."""
    runtime = of_this_process()
    x = torch.zeros(4, device="npu")

    def step() -> torch.Tensor:
        return (x + 1) * 2

    def launches() -> tuple[int, int]:
        torch.npu.synchronize()
        counted = json.loads(runtime.counters())
        by_host = sum(entry["calls"] for name, entry in counted["operations"].items() if name.startswith("acln"))
        return by_host, counted["graph_launches"]

    step()
    torch.npu.synchronize()
    runtime.reset_counters()
    step()
    eager = launches()
    graph = torch.npu.NPUGraph()
    with torch.npu.graph(graph):
        out = step()
    x.fill_(3)
    torch.npu.synchronize()
    runtime.reset_counters()
    graph.replay()
    captured = launches()
    refused = torch.npu.NPUGraph()
    try:
        with torch.npu.graph(refused):
            step().sum().item()
    except RuntimeError as error:
        said = str(error)
    return {"eager": eager, "captured": captured, "out": out.tolist(), "said": said, "alive": step().tolist()}


def races() -> dict[str, Any]:
    """Each race once planted and once repaired."""
    side, main = torch.npu.Stream(), torch.npu.current_stream()

    def wait(right: bool) -> bool:
        x = torch.zeros(256, device="npu")
        torch.npu.synchronize()
        x.fill_(5)
        if right:
            side.wait_stream(main)
        with torch.npu.stream(side):
            y = x + 1
        side.synchronize()
        return bool((y.cpu() == 6).all())

    def read(right: bool) -> bool:
        x, pinned = torch.full((256,), 5.0, device="npu"), torch.zeros(256, pin_memory=True)
        torch.npu.synchronize()
        pinned.copy_(x + 1, non_blocking=True)
        if right:
            main.synchronize()
        return bool((pinned == 6).all())

    def overwrite(right: bool) -> bool:
        pinned, x = torch.full((256,), 5.0, pin_memory=True), torch.zeros(256, device="npu")
        torch.npu.synchronize()
        x.copy_(pinned, non_blocking=True)
        if right:
            main.synchronize()
        pinned.fill_(6)
        return bool((x.cpu() == 5).all())

    def reuse(right: bool) -> bool:
        x = torch.full((256,), 5.0, device="npu")
        side.wait_stream(main)
        with torch.npu.stream(side):
            y = x + 1
        if right:
            x.record_stream(side)
        del x
        torch.full((256,), 9.0, device="npu")  # takes the freed memory unless the allocator was told
        side.synchronize()
        return bool((y.cpu() == 6).all())

    return {check.__name__: [check(False), check(True)] for check in (wait, read, overwrite, reuse)}


def failure() -> dict[str, Any]:
    """The second multiplication fails; later synchronises say so, too."""
    x, said = torch.ones(4, device="npu"), []
    for _ in range(2):
        try:
            (x * 2 * 3).add(1)
            torch.npu.synchronize()
        except RuntimeError as error:
            said.append(str(error))
    return {"said": said}


def touch() -> None:
    """The host reads behind a data pointer."""
    x = torch.ones(4, device="npu")
    torch.npu.synchronize()
    ctypes.string_at(x.data_ptr(), 4)


def segments() -> dict[str, Any]:
    """Expandable segments: growing, shrinking, and the content in between."""
    grown = [torch.full((4 * MIB,), float(at), device="npu") for at in range(3)]
    sums = [tensor.mean().item() for tensor in grown]
    full = torch.npu.mem_get_info()[0]
    del grown
    gc.collect()
    torch.npu.empty_cache()
    return {"sums": sums, "came_back": torch.npu.mem_get_info()[0] - full >= 48 * MIB}


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]]()))
