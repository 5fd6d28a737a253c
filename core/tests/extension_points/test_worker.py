"""Worker classes: the platform's `get_worker_cls`, the user's `worker_cls`, and `worker_extension_cls` for methods of one's own."""

from __future__ import annotations

from core.tests.extension_points.engines import assert_refused, example_engine, generated, plain_tokens
from vllm.errors import ConfigError
from vllm.worker.torch_worker import TorchWorker
from vllm_cpu_ref.platform import CpuRefPlatform


class WarmWorker(TorchWorker):
    """Knows a stage that other devices do not have."""

    temperature_c = 20

    def _warm_up(self) -> None:
        super()._warm_up()
        self.temperature_c = 45


class Thermometer:
    """Mixed into whatever the worker's class is."""

    temperature_c: int

    def read_temperature(self, offset_c: int) -> int:
        return self.temperature_c + offset_c


class Usurper:
    def warm_up(self) -> None: ...


class WarmPlatform(CpuRefPlatform):
    def get_worker_cls(self) -> str:
        return f"{__name__}.WarmWorker"


def test_the_platforms_worker_with_the_users_extension() -> None:
    with example_engine(WarmPlatform, worker_extension_cls=f"{__name__}.Thermometer") as engine:
        assert engine.collective_rpc("read_temperature", args=(2,)) == [47]
        assert generated(engine) == plain_tokens()


def test_the_users_worker_wins_over_the_platforms() -> None:
    with example_engine(worker_cls=f"{__name__}.WarmWorker") as engine:
        assert engine.collective_rpc(lambda worker: worker.temperature_c) == [45]


def test_an_extension_replaces_nothing() -> None:
    assert_refused(
        ConfigError,
        r"Usurper defines warm_up, which TorchWorker has already",
        worker_extension_cls=f"{__name__}.Usurper",
    )
