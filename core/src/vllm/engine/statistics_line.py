"""Owns the line that operators grep for, every `log_stats_interval_s` while there is work."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from vllm.logger import init_logger
from vllm.platforms.selection import load_platform

if TYPE_CHECKING:
    from vllm.config import VllmConfig
    from vllm.engine.scheduler.interface import SchedulerStats

__all__ = ["StatisticsLine"]

logger = init_logger(__name__)


class StatisticsLine:
    """One engine's."""

    def __init__(self, config: VllmConfig) -> None:
        self._interval_s = config.observability_config.log_stats_interval_s
        self._label = load_platform(config.platform).usage_label()
        self._since_s = time.monotonic()
        self._then: SchedulerStats | None = None

    def maybe_log(self, stats: SchedulerStats) -> bool:
        """Log if the interval is over; gives whether it was."""
        now_s = time.monotonic()
        if now_s - self._since_s < self._interval_s:
            return False
        passed_s, then = now_s - self._since_s, self._then
        prompt_tokens = stats.prompt_tokens - (then.prompt_tokens if then else 0)
        generation_tokens = stats.generation_tokens - (then.generation_tokens if then else 0)
        hit_rate = stats.prefix_cache_hits / stats.prefix_cache_queries if stats.prefix_cache_queries else 0.0
        logger.info(
            "Engine 000: Avg prompt throughput: %.1f tokens/s, Avg generation throughput: %.1f tokens/s, "
            "Running: %d reqs, Waiting: %d reqs, %s KV cache usage: %.1f%%, Prefix cache hit rate: %.1f%%",
            prompt_tokens / passed_s,
            generation_tokens / passed_s,
            stats.num_running,
            stats.num_waiting,
            self._label,
            100 * stats.kv_cache_usage,
            100 * hit_rate,
        )
        self._since_s, self._then = now_s, stats
        return True
