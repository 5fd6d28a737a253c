"""One rank of a process group in a process of its own, for test_collectives.py: `python ranks.py SCENARIO ...`.

It prints JSON: what each scenario gave, by its name.

A scenario takes (rank, ranks) and gives what its test looks at. The process runs on the simulator by its environment alone.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
import torch_npu  # noqa: F401 - registers the device and the process group

TYPES = (torch.float32, torch.bfloat16, torch.float16, torch.int8, torch.int32, torch.int64)
OPS = {"sum": dist.ReduceOp.SUM, "prod": dist.ReduceOp.PRODUCT, "max": dist.ReduceOp.MAX, "min": dist.ReduceOp.MIN}
MANY = 300_007  # more than a slot and a mailbox hold, and no multiple of either


def fetched(tensor: torch.Tensor) -> list[Any]:
    torch.npu.synchronize()
    return tensor.cpu().tolist()


def one_value(tensor: torch.Tensor) -> Any:
    """The value of all elements."""
    (value,) = set(fetched(tensor.flatten()))
    return value


def reductions(rank: int, ranks: int) -> dict[str, Any]:
    """Of 2, 3, ... in every type by every operation, in more elements than one round carries."""
    found: dict[str, Any] = {}
    for dtype in TYPES:
        for name, op in OPS.items():
            tensor = torch.full((MANY,), rank + 2, dtype=dtype).npu()
            dist.all_reduce(tensor, op=op)
            found[f"{name} {dtype}"] = one_value(tensor)
    kept = torch.full((3,), rank + 1.0).npu()
    dist.reduce(kept, dst=1)
    found["reduce to 1"] = fetched(kept)
    return found


def rounding(rank: int, ranks: int) -> dict[str, Any]:
    """Sums over all bit patterns of the 16-bit floats, subnormals, infinities and NaN among them, against torch on the CPU."""
    found: dict[str, Any] = {}
    for dtype in (torch.bfloat16, torch.float16):
        inputs = [
            torch.randperm(2**16, generator=torch.Generator().manual_seed(seed)).to(torch.int16).view(dtype)
            for seed in range(ranks)
        ]
        wanted = inputs[0]
        for other in inputs[1:]:
            wanted = (wanted.float() + other.float()).to(dtype)
        summed = inputs[rank].npu()
        dist.all_reduce(summed)
        torch.npu.synchronize()
        differ = ~torch.isclose(summed.cpu(), wanted, rtol=0, atol=0, equal_nan=True)
        found[str(dtype)] = int(differ.sum())
    return found


def movements(rank: int, ranks: int) -> dict[str, Any]:
    """Everything that only moves elements; `10 * rank` marks where each comes from."""
    found: dict[str, Any] = {}
    mine = (torch.arange(2.0) + 10 * rank).npu()
    gathered = torch.zeros(2 * ranks).npu()
    dist.all_gather_into_tensor(gathered, mine)
    found["all_gather_into_tensor"] = fetched(gathered)
    parts = [torch.zeros(2).npu() for _ in range(ranks)]
    dist.all_gather(parts, mine)
    found["all_gather"] = [fetched(part) for part in parts]
    shared = mine.clone()
    dist.broadcast(shared, src=1)
    found["broadcast"] = fetched(shared)
    reduced = torch.zeros(2).npu()
    dist.reduce_scatter_tensor(reduced, torch.arange(2.0 * ranks).npu())
    found["reduce_scatter"] = fetched(reduced)
    turned = torch.zeros(ranks).npu()
    dist.all_to_all_single(turned, (torch.arange(float(ranks)) + 10 * rank).npu())
    found["all_to_all"] = fetched(turned)
    empty = torch.zeros(0).npu()
    dist.all_reduce(empty)
    found["empty"] = fetched(empty)
    dist.barrier()
    return found


def uneven(rank: int, ranks: int) -> dict[str, Any]:
    """Rank r gives r + 1 elements to each in all-to-all."""
    sent = torch.full(((rank + 1) * ranks,), float(rank)).npu()
    counts = [source + 1 for source in range(ranks)]
    received = torch.zeros(sum(counts)).npu()
    dist.all_to_all_single(received, sent, output_split_sizes=counts, input_split_sizes=[rank + 1] * ranks)
    return {"all_to_all_v": fetched(received)}


def messages(rank: int, ranks: int) -> dict[str, Any]:
    """From 0 to 1 and on, then both ways at once in a batch."""
    line = (torch.arange(MANY) * (rank == 0)).to(torch.int32).npu()
    if rank > 0:
        dist.recv(line, rank - 1)
    if rank < ranks - 1:
        dist.send(line, rank + 1)
    torch.npu.synchronize()
    right, left = (rank + 1) % ranks, (rank - 1) % ranks
    mine, theirs = torch.full((MANY,), float(rank)).npu(), torch.zeros(MANY).npu()
    batch = [dist.P2POp(dist.isend, mine, right), dist.P2POp(dist.irecv, theirs, left)]
    for work in dist.batch_isend_irecv(batch):
        work.wait()
    return {"line": bool(torch.equal(line.cpu(), torch.arange(MANY, dtype=torch.int32))), "ring": one_value(theirs)}


def groups(rank: int, ranks: int) -> dict[str, Any]:
    """Evens and odds by themselves, then all."""
    members = [list(range(parity, ranks, 2)) for parity in (0, 1)]
    own = [dist.new_group(ranks_) for ranks_ in members][rank % 2]
    tensor = torch.full((4,), float(rank)).npu()
    dist.all_reduce(tensor, group=own)
    whole = torch.full((4,), float(rank)).npu()
    dist.all_reduce(whole)
    return {"own": one_value(tensor), "whole": one_value(whole)}


def captured(rank: int, ranks: int) -> dict[str, Any]:
    """A graph that adds up over the ranks, replayed on inputs that change."""
    tensor = torch.full((4,), 1.0).npu()
    dist.all_reduce(tensor)  # makes the communicator, which is not for a capture
    torch.npu.synchronize()
    graph = torch.npu.NPUGraph()
    with torch.npu.graph(graph):
        dist.all_reduce(tensor)
    found = []
    for step in range(3):
        tensor.copy_(torch.full((4,), float(rank + step)))
        graph.replay()
        found.append(one_value(tensor))
    return {"replays": found}


def disagreeing(rank: int, ranks: int) -> dict[str, Any]:
    tensor = torch.ones(4 + rank).npu()
    return {"error": failure(lambda: dist.all_reduce(tensor))}


def deserted(rank: int, ranks: int) -> dict[str, Any]:
    """The last rank ends between two collectives, without a word."""
    tensor = torch.ones(4).npu()
    dist.all_reduce(tensor)
    torch.npu.synchronize()
    if rank == ranks - 1:
        os._exit(7)
    return {"error": failure(lambda: dist.all_reduce(tensor))}


def late(rank: int, ranks: int) -> dict[str, Any]:
    """Rank 1 does not come; it lives on until the others have given up, which they tell through the store."""
    tensor = torch.ones(4).npu()
    dist.all_reduce(tensor)
    torch.npu.synchronize()
    store = dist.distributed_c10d._get_default_store()
    if rank == 1:
        store.wait(["gave up"])
        return {"error": ""}
    error = failure(lambda: dist.all_reduce(tensor))
    store.set("gave up", "1")
    return {"error": error}


def failing(rank: int, ranks: int) -> dict[str, Any]:
    """A collective that fault rules, given to each rank by its test, befall."""
    tensor = torch.ones(4).npu()
    return {"error": failure(lambda: dist.all_reduce(tensor))}


def failure(action: Callable[[], Any]) -> str:
    try:
        action()
        torch.npu.synchronize()
    except RuntimeError as error:
        return str(error)
    return ""


def main(names: list[str]) -> None:
    rank, ranks = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    torch.npu.set_device(rank)
    store = dist.FileStore(os.environ["RANKS_STORE"], ranks)
    dist.init_process_group("hccl", rank=rank, world_size=ranks, store=store)
    found = {name: globals()[name](rank, ranks) for name in names}
    print(json.dumps(found), flush=True)
    os._exit(0)  # a group whose rank has failed cannot be taken down in order


if __name__ == "__main__":
    main(sys.argv[1:])
