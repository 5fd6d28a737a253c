"""The comparisons that laws stand on, with numbers computed by hand."""

from __future__ import annotations

import math

import pytest
import torch

from core.tests.testing.platforms import SoundPlatform
from core.tests.testing.test_runner import path_of
from vllm.testing.bench import Bench
from vllm.testing.law import LawBroken, law
from vllm.testing.workplace import Workplace


@pytest.fixture
def bench() -> Bench:
    return Bench(Workplace(path_of(SoundPlatform)), "float32")


def test_the_largest_error_is_measured(bench: Bench) -> None:
    bench.close("x", torch.tensor([1.0, 2.5, 3.0]), torch.tensor([1.0, 2.0, 3.25]), 0.5)
    (measurement,) = bench.measurements
    assert (measurement.error, measurement.limit, measurement.share) == (0.5, 0.5, 1.0)


def test_relative_errors_count_from_one_upwards(bench: Bench) -> None:
    bench.close("x", torch.tensor([0.5, 110.0]), torch.tensor([0.0, 100.0]), 1.0, relative=True)
    assert bench.measurements[0].error == 0.5


def test_past_the_limit_the_place_is_named(bench: Bench) -> None:
    with pytest.raises(LawBroken, match=r"x: the error is 4, the limit 1; worst at \(1, 0\): found 7, expected 3"):
        bench.close("x", torch.tensor([[1.0, 2.0], [7.0, 4.0]]), torch.tensor([[1.0, 2.0], [3.0, 4.0]]), 1.0)
    assert bench.measurements[0].error == 4.0


def test_no_number_is_past_every_limit(bench: Bench) -> None:
    with pytest.raises(LawBroken):
        bench.close("x", torch.tensor([math.nan]), torch.tensor([0.0]), 1e9)
    assert bench.measurements[0].error == math.inf
    with pytest.raises(LawBroken):
        bench.within("y", math.nan, 1.0)


def test_shapes_must_be_equal_and_empty_tensors_are(bench: Bench) -> None:
    bench.close("x", torch.empty(0, 3), torch.empty(0, 3), 0.0)
    with pytest.raises(LawBroken, match=r"x: shape: found \(1, 3\), expected \(3,\)"):
        bench.close("x", torch.zeros(1, 3), torch.zeros(3), 0.0)


def test_a_law_must_say_what_it_is() -> None:
    with pytest.raises(AssertionError, match="says nothing"):

        @law()
        def mute(bench: Bench) -> None:
            del bench
