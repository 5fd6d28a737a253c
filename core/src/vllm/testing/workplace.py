"""Owns what laws of one platform share because it is expensive: the device made ready, engines' answers, ranks that have met."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from vllm.executor.worker_factory import load_platform

if TYPE_CHECKING:
    import torch

    from vllm.attention.backends.abstract import AttentionBackend
    from vllm.config import VllmConfig
    from vllm.executor.base import ExecutorBase
    from vllm.platforms.interface import Platform

__all__ = ["Workplace"]

T = TypeVar("T")
RANKS_TIMEOUT_s = 150.0
"""A call on several ranks takes well under a second; a library without time-outs of its own would keep the kit for ever."""


class Workplace:
    """Use as a context manager: leaving it stops the processes."""

    def __init__(self, platform_path: str, *, quick: bool = False) -> None:
        """Load the platform and its torch backend; raises ConfigError where the path names no Platform."""
        self.platform_path = platform_path
        self.quick = quick
        self.platform: Platform = load_platform(platform_path)
        self.asked: set[tuple[str, str | None]] = set()
        """(law, dtype) that pytest's tests have come to."""
        self._kept: dict[Any, Any] = {}
        self._met: dict[int, ExecutorBase] = {}

    def __enter__(self) -> Workplace:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop the ranks that were started; forget what was kept."""
        while self._met:
            self._met.popitem()[1].shutdown()
        self._kept.clear()

    def kept(self, key: Any, make: Callable[[], T]) -> T:
        """What `make` gave the first time that `key` was asked for."""
        if key not in self._kept:
            self._kept[key] = make()
        value: T = self._kept[key]
        return value

    def config(self, **options: Any) -> VllmConfig:
        """A configuration of the embedded model for this platform; options as for `LLM`."""
        from vllm.config.engine_args import EngineArgs
        from vllm.config.resolve import create_engine_config

        return create_engine_config(EngineArgs.from_kwargs({"max_model_len": 512, **options}), self.platform)

    @functools.cached_property
    def device(self) -> torch.device:
        """The first device, after the same steps that a worker takes."""
        import torch

        self.platform.init_worker_process(self.config(), 0)
        self.platform.import_kernels()
        kind = self.platform.device_type
        device = torch.device(kind) if kind == "cpu" else torch.device(kind, 0)
        self.platform.set_device(device)
        return device

    def backend(self, dtype_name: str) -> AttentionBackend[Any]:
        """The platform's attention backend on the first device, for models of that dtype."""
        from vllm.attention.selection import select_attention_backend

        return select_attention_backend(self.config(dtype=dtype_name), self.platform)(self.device)

    def on_ranks(self, ranks: int, function: Callable[..., T], *args: Any, **kwargs: Any) -> list[T]:
        """`function(worker, …)` on so many ranks in processes of their own that have met through the platform's communicator.

        After an error they are started anew: one rank may be left inside a collective.
        """
        if ranks not in self._met:
            from vllm.testing.ranks import start_ranks

            self._met[ranks] = start_ranks(self, ranks)
        try:
            return self._met[ranks].collective_rpc(function, RANKS_TIMEOUT_s, args, kwargs)
        except BaseException:
            self._met.pop(ranks).shutdown()
            raise
