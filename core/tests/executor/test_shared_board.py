"""Messages through shared memory: what goes in comes out, whatever the sizes; nothing is overwritten before it was read."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest

from core.tests.executor.fake_worker import plan_of
from vllm.executor.shared_board import SLOTS, BoardReader, BoardWriter, Place
from vllm.executor.wire import Answer, decode, encode

pytestmark = pytest.mark.alone  # processes and their deadlines


def test_messages_of_any_size_survive() -> None:
    """Areas grow, shrink back to small messages, and grow again; the reader follows."""
    writer = BoardWriter(1)
    reader = BoardReader(os.dup(writer.fd), rank=0, ranks=1)
    random = np.random.default_rng(1)
    for number, size in enumerate([0, 1, 65_536, 65_537, 3, 1_000_000, 10, 5_000_000, 70_000, 1]):
        blocks = [random.bytes(size), random.bytes(7)]
        place = Place.unpack(writer.write(blocks).pack())
        assert place.number == number
        assert bytes(reader.read(place)) == b"".join(blocks)
    writer.close()


def test_the_slowest_reader_decides() -> None:
    writer = BoardWriter(2)
    fast, slow = (BoardReader(os.dup(writer.fd), rank=rank, ranks=2) for rank in range(2))
    places = [writer.write([bytes([number])]) for number in range(SLOTS)]
    for place in places:
        fast.read(place)
    assert not writer.has_room()
    with pytest.raises(AssertionError, match="overwritten"):
        writer.write([b"too early"])
    assert bytes(slow.read(places[0])) == b"\0"
    assert writer.has_room()
    assert not writer.has_finished(1, 0)
    slow.mark_finished(0)
    assert [writer.has_finished(rank, 0) for rank in range(2)] == [False, True]
    writer.close()


@pytest.mark.parametrize("size", [0, 1, 1000, 4096, 100_000])
def test_codec_equals_plain_pickle(size: int) -> None:
    value = {"a": np.arange(size, dtype=np.int32), "b": np.ones((size, 3), np.float32)[:, ::2], "plan": plan_of(3)}
    got = decode(bytearray(b"".join(encode(value))))
    twin = pickle.loads(pickle.dumps(value))
    for name in ("a", "b"):
        np.testing.assert_array_equal(got[name], twin[name])
        assert got[name].dtype == twin[name].dtype
        assert got[name].flags.writeable
    np.testing.assert_array_equal(got["plan"].slots_N, twin["plan"].slots_N)


def test_large_arrays_are_views_of_the_message() -> None:
    array = np.arange(100_000, dtype=np.int64)
    message = bytearray(b"".join(encode(Answer(1, array))))
    got = decode(message).value
    assert got.ctypes.data % 8 == 0
    got[5] = -1
    np.testing.assert_array_equal(decode(message).value, got)
