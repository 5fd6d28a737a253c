"""Owns an engine's stat loggers: found by entry point, fed after every step, and left out once they raise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from vllm.engine.stat_logger import FinishedRequestStats, StatLoggerBase
from vllm.errors import PluginError
from vllm.logger import init_logger
from vllm.plugins.groups import STAT_LOGGERS
from vllm.plugins.loading import load_plugins

if TYPE_CHECKING:
    from vllm.config import VllmConfig
    from vllm.engine.request_state import ParentState
    from vllm.engine.scheduler.interface import SchedulerStats

__all__ = ["StatLoggers", "load_stat_loggers"]

logger = init_logger(__name__)


def load_stat_loggers() -> dict[str, type[StatLoggerBase]]:
    """The installed stat-logger classes by name.

    Raises:
        PluginError: one cannot be imported, or is no StatLoggerBase.
    """
    return {name: _checked(name, found) for name, found in load_plugins(STAT_LOGGERS).items()}


class StatLoggers:
    """Every logger of one engine. Costs nothing where there is none."""

    def __init__(self, config: VllmConfig, classes: Mapping[str, type[StatLoggerBase]]) -> None:
        self._loggers = {name: cls(config) for name, cls in classes.items()}

    def record(self, stats: SchedulerStats, finished: Sequence[ParentState]) -> None:
        """Hand one step's numbers to every logger."""
        if not self._loggers:
            return
        ended = [_stats_of(request) for request in finished]

        def record(one: StatLoggerBase) -> None:
            one.record(stats, ended)

        self._each(record)

    def log(self) -> None:
        """Let every logger write."""

        def log(one: StatLoggerBase) -> None:
            one.log()

        self._each(log)

    def _each(self, call: Callable[[StatLoggerBase], None]) -> None:
        for name, one in list(self._loggers.items()):
            try:
                call(one)
            except Exception:
                logger.exception("The stat logger %s raised and is left out from now on.", name)
                del self._loggers[name]


def _checked(name: str, found: object) -> type[StatLoggerBase]:
    if isinstance(found, type) and issubclass(found, StatLoggerBase):
        return found
    raise PluginError(
        f"The stat logger {name!r} is {found!r}, which is no subclass of vllm.engine.stat_logger.StatLoggerBase.",
        remedy="let the entry point name such a class, or leave it out of VLLM_PLUGINS",
    )


def _stats_of(request: ParentState) -> FinishedRequestStats:
    metrics, arrival_s = request.metrics, request.request.arrival_time_s
    return FinishedRequestStats(
        request_id=request.request.request_id,
        finish_reasons=tuple(child.finish_reason.value for child in request.children if child.finish_reason),
        num_prompt_tokens=len(request.request.prompt_token_ids),
        num_generation_tokens=metrics.num_generation_tokens,
        num_preemptions=metrics.num_preemptions,
        time_to_first_token_s=metrics.first_token_latency,
        e2e_latency_s=None if metrics.last_token_ts is None else metrics.last_token_ts - arrival_s,
    )
