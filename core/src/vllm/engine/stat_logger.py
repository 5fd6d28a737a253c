"""The StatLogger contract: where an engine's numbers go besides its own metrics, e.g. a vendor's telemetry.

Classes come from the entry-point group `vllm.stat_logger_plugins`. One object per engine, in the process that drives it.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vllm.config import VllmConfig
    from vllm.engine.scheduler.interface import SchedulerStats

__all__ = ["FinishedRequestStats", "StatLoggerBase"]


@dataclass(frozen=True, kw_only=True, slots=True)
class FinishedRequestStats:
    """One request that has ended with all its outputs. Times that never came (aborted early) are None."""

    request_id: str
    finish_reasons: tuple[str, ...]
    """One per output: "stop", "length", "abort", "error"."""
    num_prompt_tokens: int
    num_generation_tokens: int
    """Of all outputs together."""
    num_preemptions: int
    time_to_first_token_s: float | None
    e2e_latency_s: float | None
    """From arrival to the last token."""


class StatLoggerBase(abc.ABC):
    """Called on the engine's thread between steps, so it must not block. One that raises is reported once and left out from then on."""

    def __init__(self, config: VllmConfig, *, engine_index: int = 0) -> None:
        """Keep the arguments; `engine_index` tells the engines of one server apart."""
        self.config = config
        self.engine_index = engine_index

    @abc.abstractmethod
    def record(self, stats: SchedulerStats, finished: Sequence[FinishedRequestStats]) -> None:
        """After every step: the scheduler's numbers, and the requests that ended in it."""

    def log(self) -> None:
        """Every `log_stats_interval_s` while there is work: write out what was recorded. Default: nothing."""
