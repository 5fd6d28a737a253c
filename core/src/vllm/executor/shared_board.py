"""Owns the memory through which the engine hands messages to its workers: one writer, all ranks read, nothing on disk.

The memory is an anonymous file (memfd), known by its descriptor alone: it is gone when the last process that
holds it ends, however it ends.

    page 0:  int64 [ranks, 2]   how many messages each rank has taken, and how many it has finished
    then:    SLOTS areas        message n lies in area n % SLOTS; an area too small is replaced by one at the file's end

A reader copies a message out before it counts it as taken, so that its arrays are the reader's own for as long as it wants them.
The place of a message (`Place`) travels beside the board, on the worker's socket, which also wakes the worker up.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from vllm.messages import Int64Array

__all__ = ["SLOTS", "BoardReader", "BoardWriter", "Place"]

SLOTS = 4
"""Messages that may lie on the board at once: plan and grammar mask of the two steps that may be in flight."""
FIRST_CAPACITY_bytes = 64 * 1024
_TAKEN, _FINISHED = 0, 1
_PLACE = struct.Struct("<3q")

Buffer = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class Place:
    """Where message `number` lies."""

    number: int
    offset_bytes: int
    length_bytes: int

    def pack(self) -> bytes:
        """As it travels over the socket."""
        return _PLACE.pack(self.number, self.offset_bytes, self.length_bytes)

    @classmethod
    def unpack(cls, packed: bytes) -> Place:
        return cls(*_PLACE.unpack(packed))


class BoardWriter:
    """The engine's side."""

    def __init__(self, ranks: int) -> None:
        self.fd = os.memfd_create("vllm-board")
        self._counters_bytes = _aligned(ranks * 16, mmap.PAGESIZE)
        self._areas = [
            (self._counters_bytes + slot * FIRST_CAPACITY_bytes, FIRST_CAPACITY_bytes) for slot in range(SLOTS)
        ]
        self._size_bytes = self._counters_bytes + SLOTS * FIRST_CAPACITY_bytes
        os.ftruncate(self.fd, self._size_bytes)
        self._memory = mmap.mmap(self.fd, self._size_bytes)
        self._progress = _progress(self.fd, ranks)
        self._written = -1

    @property
    def next_number(self) -> int:
        return self._written + 1

    def has_room(self) -> bool:
        """Whether every rank has taken the message that lies where the next one goes."""
        return int(self._progress[:, _TAKEN].min()) > self.next_number - SLOTS

    def write(self, blocks: Sequence[Buffer]) -> Place:
        """Put the next message, the blocks one after the other, on the board; only when `has_room`."""
        assert self.has_room(), "a message would be overwritten before it was read"
        self._written += 1
        length_bytes = sum(len(block) for block in blocks)
        start = offset_bytes = self._area_for(length_bytes)
        for block in blocks:
            self._memory[start : start + len(block)] = block
            start += len(block)
        return Place(self._written, offset_bytes, length_bytes)

    def has_finished(self, rank: int, number: int) -> bool:
        """Whether the rank is done with this message."""
        return int(self._progress[rank, _FINISHED]) > number

    def close(self) -> None:
        """Give the memory back; the readers keep theirs until they end."""
        del self._progress
        self._memory.close()
        os.close(self.fd)

    def _area_for(self, length_bytes: int) -> int:
        """Offset of the next message's area, after making it large enough."""
        slot = self._written % SLOTS
        offset_bytes, capacity_bytes = self._areas[slot]
        if length_bytes > capacity_bytes:
            capacity_bytes = _aligned(2 * length_bytes, mmap.PAGESIZE)
            offset_bytes, self._size_bytes = self._size_bytes, self._size_bytes + capacity_bytes
            os.ftruncate(self.fd, self._size_bytes)
            self._memory.close()
            self._memory = mmap.mmap(self.fd, self._size_bytes)
            self._areas[slot] = (offset_bytes, capacity_bytes)
        return offset_bytes


class BoardReader:
    """A worker's side; `fd` is the writer's, inherited."""

    def __init__(self, fd: int, *, rank: int, ranks: int) -> None:
        self._fd, self._rank = fd, rank
        self._memory = mmap.mmap(fd, 0)
        self._progress = _progress(fd, ranks)

    def read(self, place: Place) -> bytearray:
        """A copy of the message; its area is free from now on."""
        end_bytes = place.offset_bytes + place.length_bytes
        if end_bytes > len(self._memory):
            self._memory.close()
            self._memory = mmap.mmap(self._fd, 0)
        with memoryview(self._memory) as memory, memory[place.offset_bytes : end_bytes] as message:
            copy = bytearray(message)
        self._progress[self._rank, _TAKEN] = place.number + 1
        return copy

    def mark_finished(self, number: int) -> None:
        """The rank is done with this message and all before."""
        self._progress[self._rank, _FINISHED] = number + 1


def _progress(fd: int, ranks: int) -> Int64Array:
    """The counters. One aligned int64 has one writer and is stored whole, which is all that the other side relies on."""
    return np.frombuffer(mmap.mmap(fd, ranks * 16), np.int64, ranks * 2).reshape(ranks, 2)


def _aligned(size_bytes: int, to_bytes: int) -> int:
    return -(-size_bytes // to_bytes) * to_bytes
