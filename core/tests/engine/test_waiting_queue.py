"""The queue against a sorted list: whoever is pushed, taken, taken out or held back, the first in order comes next."""

from __future__ import annotations

import random

import pytest

from core.tests.engine.harness import make_request
from vllm.engine.scheduler.request import Request
from vllm.engine.scheduler.waiting_queue import WaitingQueue


def request(number: int) -> Request:
    return Request(make_request(f"r{number}", [1] * (number + 1)), order=(number * 7 % 13, number))


@pytest.mark.parametrize("seed", range(10))
def test_the_first_in_order_comes_next(seed: int) -> None:
    rng, queue = random.Random(seed), WaitingQueue()
    outside = [request(number) for number in range(12)]
    waiting: list[Request] = []
    for _ in range(400):
        names = [each.message.request_id for each in outside + waiting]
        queue.only = frozenset(rng.sample(names, 4)) if rng.random() < 0.3 else None
        may_come = [each for each in waiting if queue.only is None or each.message.request_id in queue.only]
        assert queue.has_next == bool(may_come)
        match rng.choice(["push", "pop", "discard"]):
            case "push" if outside:
                waiting.append(outside.pop(rng.randrange(len(outside))))
                queue.push(waiting[-1])
            case "pop" if may_come:
                first = min(may_come, key=lambda each: each.order)
                assert queue.pop() is first
                waiting.remove(first)
                outside.append(first)
            case "discard" if waiting:
                gone = waiting.pop(rng.randrange(len(waiting)))
                assert queue.find(gone.message.request_id) is gone
                assert queue.discard(gone.message.request_id) is gone
                outside.append(gone)
        assert sorted(queue, key=lambda each: each.order) == sorted(waiting, key=lambda each: each.order)
        assert queue.num_tokens == sum(each.num_prompt_tokens for each in waiting)


def test_a_request_that_comes_and_goes_leaves_nothing() -> None:
    queue, restless = WaitingQueue(), request(1)
    for _ in range(100):
        queue.push(restless)
        assert queue.pop() is restless
    assert not queue._heap
