"""Owns what was counted, as Python sees it: calls, launches and bytes by operation, and each device's memory.

A call is what the host asked for, also while a graph is being captured; a launch is what ran on a stream, each replay
included. Streams are asynchronous: synchronise before you read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from cann_sim.runtime import of_this_process

__all__ = ["Counted", "Counters", "Memory", "Operation", "counters", "counting", "reset_counters"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Operation:
    """How often one operation was called and launched, and the bytes of its tensors."""

    calls: int = 0
    launches: int = 0
    bytes: int = 0

    def __sub__(self, earlier: Operation) -> Operation:
        return Operation(
            calls=self.calls - earlier.calls,
            launches=self.launches - earlier.launches,
            bytes=self.bytes - earlier.bytes,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """One device's memory."""

    device: int
    allocated_bytes: int
    peak_bytes: int
    total_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Counters:
    """Everything that is counted. `launches` are those of the whole process: operations, copies, collectives."""

    operations: Mapping[str, Operation]
    host_calls: int
    launches: int
    graph_launches: int
    bytes: int
    memory: tuple[Memory, ...]

    @classmethod
    def from_json(cls, text: str) -> Counters:
        """Reads what the runtime writes, to a file or to `counters()`."""
        fields: dict[str, Any] = json.loads(text)
        operations = {name: Operation(**entry) for name, entry in fields.pop("operations").items()}
        memory = tuple(Memory(**entry) for entry in fields.pop("memory"))
        return cls(operations=operations, memory=memory, **fields)

    def __sub__(self, earlier: Counters) -> Counters:
        """What happened since `earlier`; memory is as it is now."""
        none = Operation()
        differences = {name: entry - earlier.operations.get(name, none) for name, entry in self.operations.items()}
        return Counters(
            operations={name: entry for name, entry in differences.items() if entry != none},
            host_calls=self.host_calls - earlier.host_calls,
            launches=self.launches - earlier.launches,
            graph_launches=self.graph_launches - earlier.graph_launches,
            bytes=self.bytes - earlier.bytes,
            memory=self.memory,
        )


@dataclass(slots=True)
class Counted:
    """What `counting()` gives: its `counters` are there when the block has ended."""

    _counters: list[Counters] = field(default_factory=list)

    @property
    def counters(self) -> Counters:
        if not self._counters:
            raise RuntimeError("the block is still being counted; ask after it has ended")
        return self._counters[0]


def counters() -> Counters:
    """The counters of this process since its start or the last reset; raises `NotActive`."""
    return Counters.from_json(of_this_process().counters())


def reset_counters() -> None:
    """Counts from zero again; each device's peak becomes what is allocated now."""
    of_this_process().reset_counters()


@contextmanager
def counting() -> Iterator[Counted]:
    """Counts a block: `with counting() as counted: step(); torch.npu.synchronize()`, then `counted.counters`."""
    before, counted = counters(), Counted()
    try:
        yield counted
    finally:
        counted._counters.append(counters() - before)
