"""Owns captured decode steps: which row counts are captured, the dummy steps to capture them with, and their replay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from vllm.logger import init_logger
from vllm.plugins.dotted import load_subclass
from vllm.worker.captured_forward import CapturedForward
from vllm.worker.step_shapes import StepShape, dummy_rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from vllm.attention.backends.abstract import AttentionBackend
    from vllm.config import VllmConfig
    from vllm.platforms import Platform
    from vllm.worker.step_inputs import InputBuilder

__all__ = ["DecodeCapture", "capture_sizes"]

logger = init_logger(__name__)


def capture_sizes(config: VllmConfig, platform: Platform) -> tuple[int, ...]:
    """Row counts to capture, ascending; empty where the platform captures nothing or the user wants eager steps."""
    if platform.get_captured_forward_cls() is None or config.model_config.enforce_eager:
        return ()
    wanted = config.compilation_config.capture_sizes or platform.scheduling_constraints(config).decode_batch_buckets
    largest = config.scheduler_config.max_num_seqs
    return tuple(sorted({size for size in wanted if size <= largest}))


class DecodeCapture:
    """The recordings of one model. Made when the cache is there; `capture_all` fills it."""

    def __init__(self, platform: Platform, forward: Callable[..., torch.Tensor], device: torch.device) -> None:
        path = platform.get_captured_forward_cls()
        assert path is not None, "no captured forward to create"
        option = f"{type(platform).__name__}.get_captured_forward_cls()"
        cls: type[CapturedForward] = load_subclass(path, CapturedForward, option=option)
        self._recorder = cls(forward, device)

    def capture_all(
        self,
        sizes: tuple[int, ...],
        max_model_len: int,
        builder: InputBuilder,
        backend: AttentionBackend[Any],
        kv_caches: Any,
    ) -> None:
        """Largest first, so that the smaller recordings find memory to share. Contexts are the longest: what is kept holds any other."""
        for num_rows in reversed(sizes):
            shape = StepShape(num_rows, num_rows, max_model_len)
            rows = dummy_rows(shape, max_model_len=max_model_len, block_size=1)
            slots_T, position_T = builder.tokens(rows)
            metadata = backend.build_metadata(builder.attention_batch(rows, slots_T, position_T, num_rows))
            input_ids_T = builder.to_device(np.zeros(num_rows, np.int64))
            self._recorder.capture(
                num_rows, input_ids_T, builder.positions(rows, position_T, num_rows), kv_caches, metadata
            )
        megabytes = self._recorder.memory_bytes() / 2**20
        logger.info("Captured decode steps of %s rows, %.1f MiB", ", ".join(map(str, sizes)), megabytes)

    def replay(
        self, num_rows: int, input_ids_T: torch.Tensor, positions_T: torch.Tensor, caches: Any, metadata: Any
    ) -> torch.Tensor:
        """Hidden states of a captured step, valid until the next one."""
        return self._recorder.replay(num_rows, input_ids_T, positions_T, caches, metadata)
