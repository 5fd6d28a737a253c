"""Custom logits processors at work in the runner: who stays keeps its state, outputs are live, invariant ones are skipped when greedy."""

from __future__ import annotations

from typing import ClassVar

import torch

from core.tests.worker.driver import Driver, Request, start_worker, tiny_config
from vllm.config import VllmConfig
from vllm.sampling.logits_processors_interface import BatchUpdate, LogitsProcessor, MoveDirectionality
from vllm.sampling_params import SamplingParams

HERE = __name__


class RowStates(LogitsProcessor):
    """Keeps (parameters, live outputs, updates seen) by row."""

    def __init__(self, vllm_config: VllmConfig, device: torch.device, is_pin_memory: bool) -> None:
        self.rows: dict[int, tuple[SamplingParams, list[int]]] = {}

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        if batch_update is None:
            return
        for row in batch_update.removed:
            del self.rows[row]
        for row, params, _, outputs in batch_update.added:
            self.rows[row] = params, outputs  # type: ignore[assignment]
        for a, b, direction in batch_update.moved:
            moving, resident = self.rows.pop(a), self.rows.pop(b, None)
            self.rows[b] = moving
            if direction is MoveDirectionality.SWAP:
                assert resident is not None
                self.rows[a] = resident


class Countdown(RowStates):
    """Forces 1000 + (number of outputs so far) for requests that ask."""

    def is_argmax_invariant(self) -> bool:
        return False

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        assert sorted(self.rows) == list(range(len(logits)))
        for row, (params, outputs) in self.rows.items():
            if (params.extra_args or {}).get("count"):
                logits[row] = float("-inf")
                logits[row, 1000 + len(outputs)] = 0.0
        return logits


class OnlyTheBest(RowStates):
    """Keeps the most likely token alone, which never changes a greedy row."""

    calls: ClassVar[int] = 0

    def is_argmax_invariant(self) -> bool:
        return True

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        type(self).calls += 1
        return logits.masked_fill(logits < logits.amax(-1, keepdim=True), float("-inf"))


def counting(length: int) -> Request:
    params = SamplingParams(temperature=0.0, extra_args={"count": True})
    return Request(range(10, 10 + length), params, num_tokens=4 + length % 3)


def test_a_processor_follows_its_requests_through_arrivals_ends_and_preemption() -> None:
    driver = Driver(start_worker(tiny_config(logits_processors=(f"{HERE}:Countdown",))), chunk_tokens=9)
    counted, plain = [counting(length) for length in (3, 20, 11)], [Request([7, 8, i]) for i in range(3)]
    for request in (counted[0], plain[0], counted[1], plain[1]):
        driver.admit(request)
    driver.step()
    driver.step()
    driver.preempt(counted[0])
    driver.run(counted[0], counted[2], plain[2])
    assert [r.outputs for r in counted] == [list(range(1000, 1000 + r.num_tokens)) for r in counted]
    alone = Driver(start_worker(tiny_config()))
    again = [Request([7, 8, i]) for i in range(3)]
    alone.run(*again)
    assert [r.outputs for r in plain] == [r.outputs for r in again]


def test_an_argmax_invariant_processor_runs_only_where_a_row_draws() -> None:
    worker = start_worker(tiny_config(logits_processors=(OnlyTheBest,)))
    OnlyTheBest.calls = 0
    greedy = Request([5, 6, 7])
    Driver(worker).run(greedy)
    assert OnlyTheBest.calls == 0
    hot = Request([5, 6, 7], SamplingParams(temperature=2.0), seed=9)
    beside = Request([5, 6, 7])
    Driver(worker).run(hot, beside)
    assert hot.outputs == beside.outputs == greedy.outputs
    assert OnlyTheBest.calls == 6
