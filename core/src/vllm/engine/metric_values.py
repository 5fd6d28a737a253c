"""Owns metrics as plain values: what `LLM.get_metrics()` gives."""

from __future__ import annotations

from dataclasses import dataclass, field

import prometheus_client as prom

__all__ = ["Counter", "Gauge", "Histogram", "Metric", "plain_values"]


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


def plain_values(family: prom.Metric) -> list[Metric]:
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
