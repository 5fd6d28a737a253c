"""Sleep mode: a platform declares it, and the core's torch worker moves weights and cache away and back."""

from __future__ import annotations

import pytest

from core.tests.extension_points.engines import example_engine, generated, plain_tokens
from core.tests.mutants.mutant import PARTS
from core.tests.sleeping_platform import SleepingPlatform
from vllm import SamplingParams
from vllm.engine.llm_engine import LLMEngine
from vllm.errors import ConfigError, InvalidRequestError, OutOfMemoryError
from vllm.platforms import Capability, Feature
from vllm.worker.torch_model_runner import TorchModelRunner
from vllm.worker.torch_worker import TorchWorker

OPTIONS = {"enable_sleep_mode": True}


class CapturingSleeper(SleepingPlatform):
    """Records decode steps too."""

    def capabilities(self) -> dict[Feature, Capability]:
        return {**super().capabilities(), Feature.GRAPH_CAPTURE: Capability.full()}

    def get_captured_forward_cls(self) -> str | None:
        return PARTS + "runner_parts.HonestCapture"


class CrampedHost(SleepingPlatform):
    """Its host has no room for the weights while `is_full`."""

    is_full = False

    def is_pin_memory_available(self) -> bool:
        if CrampedHost.is_full:
            raise MemoryError("the host is full")
        return False


def held_bytes(worker: TorchWorker) -> dict[str, int]:
    runner = worker.runner
    assert isinstance(runner, TorchModelRunner)
    weights = {weight.untyped_storage() for weight in (*runner.model.parameters(), *runner.model.buffers())}
    return {
        "weights": sum(storage.nbytes() for storage in weights),
        "kv_cache": sum(tensor.nbytes for layer in runner.kv_caches for tensor in layer),
    }


def held(engine: LLMEngine) -> dict[str, int]:
    (bytes_of,) = engine.collective_rpc(held_bytes)
    return bytes_of


@pytest.mark.parametrize("level", [1, 2])
def test_memory_goes_and_comes_back_and_the_tokens_stay(level: int) -> None:
    with example_engine(SleepingPlatform, **OPTIONS) as engine:
        assert generated(engine) == plain_tokens()
        before = held(engine)
        assert before["weights"] > 2**23 and before["kv_cache"] > 2**23
        for _ in range(2):
            engine.sleep(level)
            assert held(engine) == {"weights": 0, "kv_cache": 0}
            engine.wake_up()
            assert held(engine) == before
            assert generated(engine) == plain_tokens()


def test_who_has_no_room_on_the_host_stays_awake(monkeypatch: pytest.MonkeyPatch) -> None:
    with example_engine(CrampedHost, **OPTIONS) as engine:
        before = held(engine)
        monkeypatch.setattr(CrampedHost, "is_full", True)
        with pytest.raises(OutOfMemoryError, match="keeping the weights on the host"):
            engine.sleep(1)
        assert held(engine) == before and not engine.is_sleeping()
        monkeypatch.setattr(CrampedHost, "is_full", False)
        assert generated(engine) == plain_tokens()


def test_weights_and_cache_wake_up_one_by_one() -> None:
    with example_engine(SleepingPlatform, **OPTIONS) as engine:
        before = held(engine)
        engine.sleep(1)
        engine.wake_up(["weights"])
        assert held(engine) == {"weights": before["weights"], "kv_cache": 0}
        assert engine.is_sleeping()
        engine.wake_up(["kv_cache"])
        assert held(engine) == before and not engine.is_sleeping()
        assert generated(engine) == plain_tokens()


def test_what_was_captured_is_captured_anew() -> None:
    with example_engine(CapturingSleeper, **OPTIONS, cudagraph_capture_sizes=(1, 2, 4)) as engine:
        engine.sleep(1)
        assert engine.collective_rpc(lambda worker: worker.runner._capture) == [None]
        engine.wake_up(["kv_cache"])
        assert engine.collective_rpc(lambda worker: worker.runner._capture) == [None], "its weights are not there yet"
        engine.wake_up(["weights"])
        assert engine.collective_rpc(lambda worker: worker.runner._capture is not None) == [True]
        assert generated(engine) == plain_tokens()


def test_a_sleeping_engine_takes_no_requests_and_sleeping_twice_changes_nothing() -> None:
    with example_engine(SleepingPlatform, **OPTIONS) as engine:
        engine.sleep(1)
        engine.sleep(2)
        with pytest.raises(InvalidRequestError, match=r"sleeps \(kv_cache and weights\)(?s:.*)wake_up\(\) first"):
            engine.add_request("1", "Count: 1 2 3", SamplingParams())
        engine.wake_up()
        engine.wake_up()
        assert generated(engine) == plain_tokens()


def test_unknown_levels_and_tags_are_named() -> None:
    with example_engine(SleepingPlatform, **OPTIONS) as engine:
        with pytest.raises(ConfigError, match="There is no sleep level 3"):
            engine.sleep(3)
        engine.sleep(1)
        with pytest.raises(ConfigError, match=r"is called 'weight'(?s:.*)Did you mean: weights"):
            engine.wake_up(["weight"])
        assert engine.is_sleeping()


def test_nobody_sleeps_while_requests_run_or_unasked() -> None:
    with example_engine(SleepingPlatform, **OPTIONS) as engine:
        engine.add_request("1", "Count: 1 2 3", SamplingParams())
        with pytest.raises(InvalidRequestError, match="cannot sleep while requests run"):
            engine.sleep(1)
    with (
        example_engine(SleepingPlatform) as engine,
        pytest.raises(ConfigError, match=r"built without sleep mode(?s:.*)--enable-sleep-mode"),
    ):
        engine.sleep(1)


def test_a_platform_without_it_says_why() -> None:
    with example_engine() as engine, pytest.raises(ConfigError, match=r"sleep asks for sleep mode, which .* cannot do"):
        engine.sleep(1)
