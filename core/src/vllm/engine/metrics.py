"""Owns the engine's statistics: the `vllm:` metrics that users know, and the statistics line. Nothing here is per request and step."""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING, Any, TypeVar

import prometheus_client as prom
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

from vllm.engine.latency_buckets import (
    INTER_TOKEN_BOUNDS_S,
    REQUEST_BOUNDS_S,
    TIME_TO_FIRST_TOKEN_BOUNDS_S,
    TOKEN_BOUNDS,
)
from vllm.engine.metric_values import Counter, Gauge, Histogram, Metric, plain_values
from vllm.engine.scheduler.interface import SchedulerStats
from vllm.engine.stat_loggers import StatLoggers
from vllm.engine.statistics_line import StatisticsLine
from vllm.messages import FinishReason

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from vllm.config import VllmConfig
    from vllm.engine.request_state import ParentState
    from vllm.engine.stat_logger import StatLoggerBase

__all__ = ["Counter", "EngineMetrics", "Gauge", "Histogram", "Metric"]

_Made = TypeVar("_Made", prom.Gauge, prom.Counter, prom.Histogram)


class EngineMetrics:
    """One engine's metrics, in a registry of its own."""

    def __init__(self, config: VllmConfig, stat_loggers: Mapping[str, type[StatLoggerBase]]) -> None:
        """`stat_loggers`: classes of plugins by name, which get the same numbers."""
        self.registry = prom.CollectorRegistry()
        self._labels = {"model_name": config.model_config.served_model_name, "engine": "0"}
        self._line = StatisticsLine(config)
        self._loggers = StatLoggers(config, stat_loggers)
        self._last: SchedulerStats | None = None
        self._gauges = {name: self._make(prom.Gauge, name, text) for name, text in _GAUGES.items()}
        self._counters = {name: self._make(prom.Counter, name, text) for name, text in _COUNTERS.items()}
        self._histograms = {
            name: self._make(prom.Histogram, name, text, buckets=buckets)
            for name, (text, buckets) in _HISTOGRAMS.items()
        }
        labels = list(self._labels)
        self._waiting = prom.Gauge(
            "vllm:num_requests_waiting_by_reason",
            "Requests that wait, by what they wait for.",
            [*labels, "reason"],
            registry=self.registry,
        )
        self._by_source = prom.Counter(
            "vllm:prompt_tokens_by_source",
            "Prompt tokens by where their keys and values came from.",
            [*labels, "source"],
            registry=self.registry,
        )
        self._inter_token = InterTokenCollector(self._labels)
        self.registry.register(self._inter_token)
        _tell_cache(config, self._labels, self.registry)
        self._success = prom.Counter(
            "vllm:request_success", "Requests that ended.", [*self._labels, "finished_reason"], registry=self.registry
        )
        for reason in FinishReason:  # a rate needs the zero that stood there before
            self._success.labels(**self._labels, finished_reason=reason.value)
        self._take_totals(_NOTHING, None)

    def after_step(self, stats: SchedulerStats, finished: Sequence[ParentState]) -> None:
        """Take one step's numbers, and the requests that ended in it."""
        for name in _GAUGES:
            self._gauges[name].set(getattr(stats, _FIELD_OF.get(name, name)))
        for name in _COUNTED:
            before = 0 if self._last is None else getattr(self._last, name)
            self._counters[name].inc(getattr(stats, name) - before)
        self._take_totals(stats, self._last)
        self._last = stats
        for request in finished:
            self._observe(request)
        self._loggers.record(stats, finished)
        if self._line.maybe_log(stats):
            self._loggers.log()

    def _take_totals(self, stats: SchedulerStats, before: SchedulerStats | None) -> None:
        """What is worked out of the difference to the step before."""
        self._waiting.labels(**self._labels, reason="capacity").set(stats.num_waiting)
        self._waiting.labels(**self._labels, reason="deferred").set(0)
        hits = stats.prefix_cache_hits - (before.prefix_cache_hits if before else 0)
        prompt = stats.prompt_tokens - (before.prompt_tokens if before else 0)
        generated = stats.generation_tokens - (before.generation_tokens if before else 0)
        for source, tokens in (("local_cache_hit", hits), ("local_compute", max(0, prompt - hits))):
            self._by_source.labels(**self._labels, source=source).inc(tokens)
        self._by_source.labels(**self._labels, source="external_kv_transfer").inc(0)
        self._counters["prompt_tokens_cached"].inc(hits)
        if prompt + generated:
            self._see("iteration_tokens_total", prompt + generated)
        self._inter_token.take(stats)

    def snapshot(self) -> list[Metric]:
        """Every metric as a plain value."""
        return [metric for family in self.registry.collect() for metric in plain_values(family)]

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
        outputs = [len(child.token_ids) for child in request.children]
        self._see("request_max_num_generation_tokens", max(outputs))
        self._see("request_num_preemptions", metrics.num_preemptions)
        self._see(
            "request_prefill_kv_computed_tokens",
            len(request.request.prompt_token_ids) - (request.num_cached_tokens or 0),
        )
        self._see("request_params_n", request.request.params.n)
        self._see("request_params_max_tokens", request.request.params.max_tokens)
        for child in request.children:
            assert child.finish_reason is not None
            self._success.labels(**self._labels, finished_reason=child.finish_reason.value).inc()

    def _see(self, name: str, value: float | None) -> None:
        if value is not None:
            self._histograms[name].observe(value)


_NOTHING = SchedulerStats(
    num_running=0,
    num_waiting=0,
    kv_cache_usage=0.0,
    num_preemptions=0,
    prefix_cache_queries=0,
    prefix_cache_hits=0,
    prompt_tokens=0,
    generation_tokens=0,
)
_STEP_BOUNDS = (1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)
_GAUGES = {
    "num_requests_running": "Requests in the running batch.",
    "num_requests_waiting": "Requests that wait for a place in it.",
    "kv_cache_usage_perc": "Used share of the KV cache, 1 = all.",
}
_COUNTERS = {
    "num_failed_steps": "Steps that raised an error and were undone.",
    "num_preemptions": "Requests put back to the queue: for want of KV-cache blocks, or because a step was undone.",
    "prefix_cache_queries": "Prompt tokens looked up in the prefix cache.",
    "prefix_cache_hits": "Prompt tokens found there.",
    "prompt_tokens": "Prompt tokens processed.",
    "generation_tokens": "Tokens generated.",
    "prompt_tokens_cached": "Prompt tokens found in a cache.",
}
_COUNTED = tuple(name for name in _COUNTERS if name != "prompt_tokens_cached")
"""Those that the scheduler counts under the same name."""
_FIELD_OF = {
    "num_requests_running": "num_running",
    "num_requests_waiting": "num_waiting",
    "kv_cache_usage_perc": "kv_cache_usage",
}
_HISTOGRAMS: dict[str, tuple[str, tuple[float, ...]]] = {
    "e2e_request_latency_seconds": ("From arrival to the last token.", REQUEST_BOUNDS_S),
    "time_to_first_token_seconds": ("From arrival to the first token.", TIME_TO_FIRST_TOKEN_BOUNDS_S),
    "request_queue_time_seconds": ("From arrival to the first scheduling.", REQUEST_BOUNDS_S),
    "request_prefill_time_seconds": ("From the first scheduling to the first token.", REQUEST_BOUNDS_S),
    "request_decode_time_seconds": ("From the first token to the last.", REQUEST_BOUNDS_S),
    "request_inference_time_seconds": ("From the first scheduling to the last token.", REQUEST_BOUNDS_S),
    "request_time_per_output_token_seconds": ("Decode time per token after the first.", INTER_TOKEN_BOUNDS_S),
    "request_prompt_tokens": ("Prompt tokens per request.", TOKEN_BOUNDS),
    "request_prefill_kv_computed_tokens": ("Prompt tokens per request that were not found in the cache.", TOKEN_BOUNDS),
    "request_generation_tokens": ("Tokens generated per request.", TOKEN_BOUNDS),
    "request_max_num_generation_tokens": ("Tokens of the longest output per request.", TOKEN_BOUNDS),
    "request_num_preemptions": ("Preemptions per request.", (0, 1, 2, 5, 10, 20)),
    "request_params_n": ("The requests' n.", (1, 2, 5, 10, 20)),
    "request_params_max_tokens": ("The requests' max_tokens.", TOKEN_BOUNDS),
    "iteration_tokens_total": ("Tokens of one engine step, prompts included.", _STEP_BOUNDS),
}


def _span(start_s: float | None, end_s: float | None) -> float | None:
    return None if start_s is None or end_s is None else end_s - start_s


def _per_token(request: ParentState) -> float | None:
    decode_s = _span(request.metrics.first_token_ts, request.metrics.last_token_ts)
    tokens = request.metrics.num_generation_tokens - len(request.children)
    return None if decode_s is None or tokens < 1 else decode_s / tokens


class InterTokenCollector(Collector):
    """`vllm:inter_token_latency_seconds` from the scheduler's own counts: nothing is observed token by token."""

    def __init__(self, labels: Mapping[str, str]) -> None:
        self._labels = dict(labels)
        self._counts: tuple[int, ...] = (0,) * (len(INTER_TOKEN_BOUNDS_S) + 1)
        self._sum_s = 0.0

    def take(self, stats: SchedulerStats) -> None:
        """Remember the newest counts; a scheduler that does not measure gives none."""
        if stats.inter_token_counts:
            self._counts, self._sum_s = stats.inter_token_counts, stats.inter_token_sum_s

    def collect(self) -> Iterable[HistogramMetricFamily]:
        """The histogram as Prometheus wants it: cumulated."""
        bounds = [*(str(bound) for bound in INTER_TOKEN_BOUNDS_S), "+Inf"]
        cumulated = list(zip(bounds, itertools.accumulate(self._counts), strict=True))
        family = HistogramMetricFamily(
            "vllm:inter_token_latency_seconds", "Between two tokens of a request.", labels=list(self._labels)
        )
        family.add_metric(list(self._labels.values()), cumulated, self._sum_s)
        return [family]


def _tell_cache(config: VllmConfig, labels: Mapping[str, str], registry: prom.CollectorRegistry) -> None:
    """`vllm:cache_config_info`: constant 1, the settings as labels."""
    cache = {name: str(value) for name, value in dataclasses.asdict(config.cache_config).items()}
    cache |= {"num_gpu_blocks": cache["num_blocks"], "gpu_memory_utilization": cache["memory_utilization"]}
    said = {"engine": labels["engine"], **cache}
    prom.Gauge("vllm:cache_config_info", "The KV cache's settings.", list(said), registry=registry).labels(**said).set(
        1
    )
