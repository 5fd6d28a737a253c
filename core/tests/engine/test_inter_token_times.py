"""The histogram of times between tokens: counted by bucket, a bound's own value below it, cumulated only for Prometheus."""

from __future__ import annotations

import numpy as np
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from vllm.engine.latency_buckets import INTER_TOKEN_BOUNDS_S
from vllm.engine.metrics import InterTokenCollector
from vllm.engine.scheduler.inter_token import InterTokenTimes
from vllm.engine.scheduler.interface import SchedulerStats


def stats_of(times: InterTokenTimes) -> SchedulerStats:
    return SchedulerStats(
        num_running=0,
        num_waiting=0,
        kv_cache_usage=0.0,
        num_preemptions=0,
        prefix_cache_queries=0,
        prefix_cache_hits=0,
        prompt_tokens=0,
        generation_tokens=0,
        inter_token_counts=times.counts,
        inter_token_sum_s=times.sum_s,
    )


def test_counts_by_bucket() -> None:
    times = InterTokenTimes()
    times.add(np.array([0.001, 0.01, 0.0101, 100.0]))
    times.add(np.array([]))
    assert times.counts[:3] == (2, 1, 0)
    assert times.counts[-1] == 1
    assert sum(times.counts) == 4
    assert len(times.counts) == len(INTER_TOKEN_BOUNDS_S) + 1
    assert abs(times.sum_s - 100.0211) < 1e-9


def test_exposition_is_cumulative() -> None:
    times = InterTokenTimes()
    times.add(np.array([0.02, 0.02, 0.3]))
    registry, collector = CollectorRegistry(), InterTokenCollector({"model_name": "m", "engine": "0"})
    registry.register(collector)
    collector.take(stats_of(times))
    lines = generate_latest(registry).decode().splitlines()
    name = "vllm:inter_token_latency_seconds"
    assert f'{name}_bucket{{engine="0",le="0.01",model_name="m"}} 0.0' in lines
    assert f'{name}_bucket{{engine="0",le="0.025",model_name="m"}} 2.0' in lines
    assert f'{name}_bucket{{engine="0",le="+Inf",model_name="m"}} 3.0' in lines
    assert f'{name}_count{{engine="0",model_name="m"}} 3.0' in lines
