"""Owns the engine's statistics: the `vllm:` metrics that users know, and the statistics line. Nothing here is per request and step."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import prometheus_client as prom

from vllm.engine.stat_loggers import StatLoggers
from vllm.logger import init_logger
from vllm.platforms.selection import load_platform

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vllm.config import VllmConfig
    from vllm.engine.request_state import ParentState
    from vllm.engine.scheduler.interface import SchedulerStats
    from vllm.engine.stat_logger import StatLoggerBase

__all__ = ["Counter", "EngineMetrics", "Gauge", "Histogram", "Metric"]

logger = init_logger(__name__)

_Made = TypeVar("_Made", prom.Gauge, prom.Counter, prom.Histogram)

_LATENCY_BUCKETS_S = (
    0.001,
    0.005,
    0.01,
    0.02,
    0.04,
    0.06,
    0.08,
    0.1,
    0.25,
    0.5,
    0.75,
    1.0,
    2.5,
    5.0,
    7.5,
    10.0,
    20.0,
    40.0,
)
_TOKEN_BUCKETS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000)


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """One labelled value of a snapshot."""

    name: str
    """With the prefix `vllm:`."""
    labels: dict[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Counter(Metric):
    """Counts from the engine's start."""

    value: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Gauge(Metric):
    """The value now."""

    value: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Histogram(Metric):
    """`buckets`: upper bound (as Prometheus writes it) → observations at or below it."""

    count: int
    sum: float
    buckets: dict[str, int] = field(default_factory=dict)


class EngineMetrics:
    """One engine's metrics, in a registry of its own."""

    def __init__(self, config: VllmConfig, stat_loggers: Mapping[str, type[StatLoggerBase]]) -> None:
        """`stat_loggers`: classes of plugins by name, which get the same numbers."""
        self.registry = prom.CollectorRegistry()
        self._labels = {"model_name": config.model_config.served_model_name, "engine": "0"}
        self._line = _StatisticsLine(config)
        self._loggers = StatLoggers(config, stat_loggers)
        self._last: SchedulerStats | None = None
        self._gauges = {name: self._make(prom.Gauge, name, text) for name, text in _GAUGES.items()}
        self._counters = {name: self._make(prom.Counter, name, text) for name, text in _COUNTERS.items()}
        self._histograms = {
            name: self._make(prom.Histogram, name, text, buckets=buckets)
            for name, (text, buckets) in _HISTOGRAMS.items()
        }
        self._success = prom.Counter(
            "vllm:request_success", "Requests that ended.", [*self._labels, "finished_reason"], registry=self.registry
        )

    def after_step(self, stats: SchedulerStats, finished: Sequence[ParentState]) -> None:
        """Take one step's numbers, and the requests that ended in it."""
        for name in _GAUGES:
            self._gauges[name].set(getattr(stats, _FIELD_OF.get(name, name)))
        for name in _COUNTERS:
            before = 0 if self._last is None else getattr(self._last, _FIELD_OF.get(name, name))
            self._counters[name].inc(getattr(stats, _FIELD_OF.get(name, name)) - before)
        self._last = stats
        for request in finished:
            self._observe(request)
        self._loggers.record(stats, finished)
        if self._line.maybe_log(stats):
            self._loggers.log()

    def snapshot(self) -> list[Metric]:
        """Every metric as a plain value."""
        return [metric for family in self.registry.collect() for metric in _plain(family)]

    def _make(self, kind: type[_Made], name: str, text: str, **options: Any) -> _Made:
        return kind(f"vllm:{name}", text, list(self._labels), registry=self.registry, **options).labels(**self._labels)

    def _observe(self, request: ParentState) -> None:
        metrics, arrival_s = request.metrics, request.request.arrival_time_s
        self._see("e2e_request_latency_seconds", _span(arrival_s, metrics.last_token_ts))
        self._see("time_to_first_token_seconds", metrics.first_token_latency)
        self._see("request_queue_time_seconds", _span(arrival_s, metrics.scheduled_ts))
        self._see("request_prefill_time_seconds", _span(metrics.scheduled_ts, metrics.first_token_ts))
        self._see("request_decode_time_seconds", _span(metrics.first_token_ts, metrics.last_token_ts))
        self._see("request_inference_time_seconds", _span(metrics.scheduled_ts, metrics.last_token_ts))
        self._see("request_time_per_output_token_seconds", _per_token(request))
        self._see("request_prompt_tokens", len(request.request.prompt_token_ids))
        self._see("request_generation_tokens", metrics.num_generation_tokens)
        self._see("request_params_n", request.request.params.n)
        self._see("request_params_max_tokens", request.request.params.max_tokens)
        for child in request.children:
            assert child.finish_reason is not None
            self._success.labels(**self._labels, finished_reason=child.finish_reason.value).inc()

    def _see(self, name: str, value: float | None) -> None:
        if value is not None:
            self._histograms[name].observe(value)


_GAUGES = {
    "num_requests_running": "Requests in the running batch.",
    "num_requests_waiting": "Requests that wait for a place in it.",
    "kv_cache_usage_perc": "Used share of the KV cache, 1 = all.",
}
_COUNTERS = {
    "num_preemptions": "Requests put back to the queue for want of KV-cache blocks.",
    "prefix_cache_queries": "Prompt tokens looked up in the prefix cache.",
    "prefix_cache_hits": "Prompt tokens found there.",
    "prompt_tokens": "Prompt tokens processed.",
    "generation_tokens": "Tokens generated.",
}
_FIELD_OF = {
    "num_requests_running": "num_running",
    "num_requests_waiting": "num_waiting",
    "kv_cache_usage_perc": "kv_cache_usage",
}
_HISTOGRAMS: dict[str, tuple[str, tuple[float, ...]]] = {
    "e2e_request_latency_seconds": ("From arrival to the last token.", _LATENCY_BUCKETS_S),
    "time_to_first_token_seconds": ("From arrival to the first token.", _LATENCY_BUCKETS_S),
    "request_queue_time_seconds": ("From arrival to the first scheduling.", _LATENCY_BUCKETS_S),
    "request_prefill_time_seconds": ("From the first scheduling to the first token.", _LATENCY_BUCKETS_S),
    "request_decode_time_seconds": ("From the first token to the last.", _LATENCY_BUCKETS_S),
    "request_inference_time_seconds": ("From the first scheduling to the last token.", _LATENCY_BUCKETS_S),
    "request_time_per_output_token_seconds": ("Decode time per token after the first.", _LATENCY_BUCKETS_S),
    "request_prompt_tokens": ("Prompt tokens per request.", _TOKEN_BUCKETS),
    "request_generation_tokens": ("Tokens generated per request.", _TOKEN_BUCKETS),
    "request_params_n": ("The requests' n.", (1, 2, 5, 10, 20)),
    "request_params_max_tokens": ("The requests' max_tokens.", _TOKEN_BUCKETS),
}


def _span(start_s: float | None, end_s: float | None) -> float | None:
    return None if start_s is None or end_s is None else end_s - start_s


def _per_token(request: ParentState) -> float | None:
    decode_s = _span(request.metrics.first_token_ts, request.metrics.last_token_ts)
    tokens = request.metrics.num_generation_tokens - len(request.children)
    return None if decode_s is None or tokens < 1 else decode_s / tokens


def _plain(family: prom.Metric) -> list[Metric]:
    """Our plain values of one Prometheus family."""
    if family.type == "histogram":
        return [_plain_histogram(family)]
    samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
    if family.type == "counter":
        return [Counter(name=family.name, labels=dict(s.labels), value=int(s.value)) for s in samples]
    return [Gauge(name=family.name, labels=dict(s.labels), value=s.value) for s in samples]


def _plain_histogram(family: prom.Metric) -> Histogram:
    by_end = {sample.name.rsplit("_", 1)[-1]: sample for sample in family.samples}
    buckets = {s.labels["le"]: int(s.value) for s in family.samples if s.name.endswith("_bucket")}
    labels = {k: v for k, v in by_end["sum"].labels.items() if k != "le"}
    count, total = int(by_end["count"].value), by_end["sum"].value
    return Histogram(name=family.name, labels=labels, count=count, sum=total, buckets=buckets)


class _StatisticsLine:
    """The line that operators grep for, every `log_stats_interval_s` while there is work."""

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
