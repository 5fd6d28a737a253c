"""Owns the result of `vllm bench serve`: the numbers under vLLM's names, the table, the file's name."""

from __future__ import annotations

import re
import statistics
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from vllm.entrypoints.cli.bench.common import percentiles
from vllm.entrypoints.cli.bench.serve_options import METRICS, ServeBenchOptions
from vllm.entrypoints.client.load import Experience, Load

__all__ = ["file_name", "numbers", "print_table"]

_TITLES = {
    "ttft": "Time to First Token",
    "tpot": "Time per Output Token (excl. 1st token)",
    "itl": "Inter-token Latency",
    "e2el": "End-to-end Latency",
}
_WIDTH = 50


def numbers(load: Load, options: ServeBenchOptions) -> dict[str, Any]:
    """Everything that was measured. Times are in milliseconds; of requests that failed there are none."""
    good = [each for each in load.experiences if each.is_good]
    input_tokens, output_tokens = sum(e.prompt_tokens for e in good), sum(e.output_tokens for e in good)
    result: dict[str, Any] = {
        "date": time.strftime("%Y%m%d-%H%M%S"),
        "backend": options.backend,
        "endpoint_type": options.backend,
        "label": options.label,
        "model_id": load.model,
        "tokenizer_id": options.tokenizer or load.model,
        "num_prompts": options.num_prompts,
        "request_rate": options.request_rate if options.request_rate < float("inf") else "inf",
        "burstiness": options.burstiness,
        "max_concurrency": options.max_concurrency,
        "duration": load.duration_s,
        "completed": len(good),
        "failed": len(load.experiences) - len(good),
        "total_input_tokens": input_tokens,
        "total_output_tokens": output_tokens,
        "request_throughput": len(good) / load.duration_s,
        "output_throughput": output_tokens / load.duration_s,
        "total_token_throughput": (input_tokens + output_tokens) / load.duration_s,
        "max_output_tokens_per_s": max(float(_most_in_a_second(good)), output_tokens / load.duration_s),
        "max_concurrent_requests": _most_at_once(load.experiences),
    }
    for name, values_s in _series_s(good).items():
        result |= _statistics_ms(name, values_s, options.metric_percentiles)
    return result | (_details(load.experiences) if options.save_detailed else {})


def _series_s(good: Sequence[Experience]) -> dict[str, list[float]]:
    return {
        "ttft": [each.first_token_s for each in good],
        "tpot": [value for each in good if (value := each.per_token_s) is not None],
        "itl": [gap for each in good for gap in each.gaps_s],
        "e2el": [each.latency_s for each in good],
    }


def _statistics_ms(name: str, values_s: Sequence[float], percents: Sequence[float]) -> dict[str, float]:
    """Mean, median, deviation, percentiles; 0 where nothing was measured, as in vLLM."""
    values_ms = [value * 1000 for value in values_s] or [0.0]
    found = {f"mean_{name}_ms": statistics.fmean(values_ms), f"median_{name}_ms": statistics.median(values_ms)}
    found[f"std_{name}_ms"] = statistics.pstdev(values_ms)
    return found | {f"p{percent:g}_{name}_ms": value for percent, value in percentiles(values_ms, percents).items()}


def _details(experiences: Sequence[Experience]) -> dict[str, list[Any]]:
    return {
        "input_lens": [each.prompt_tokens for each in experiences],
        "output_lens": [each.output_tokens for each in experiences],
        "ttfts": [each.first_token_s if each.token_times_s else 0.0 for each in experiences],
        "itls": [each.gaps_s for each in experiences],
        "generated_texts": [each.text for each in experiences],
        "errors": [each.error for each in experiences],
    }


def _most_in_a_second(good: Sequence[Experience]) -> int:
    """Pieces of all answers in the fullest second. A run that is shorter has no whole one: no peak is below the mean."""
    if not good:
        return 0
    start_s = min(each.start_s for each in good)
    return max(Counter(int(time_s - start_s) for each in good for time_s in each.token_times_s).values())


def _most_at_once(experiences: Sequence[Experience]) -> int:
    """Requests under way at the busiest moment; an end counts before a start of the same time."""
    moves = [(each.start_s, 1) for each in experiences if each.token_times_s]
    moves += [(each.token_times_s[-1], -1) for each in experiences if each.token_times_s]
    under_way = most = 0
    for _, step in sorted(moves):
        under_way += step
        most = max(most, under_way)
    return most


def print_table(result: Mapping[str, Any], options: ServeBenchOptions) -> None:
    """As vLLM prints it."""
    print(f"{' Serving Benchmark Result ':=^{_WIDTH}}")
    for words, name in _LINES:
        if result[name] is not None and (name != "request_rate" or result[name] != "inf"):
            _print_line(words, result[name])
    for name in METRICS:
        if name in options.percentile_metrics:
            _print_metric(name, result, options.metric_percentiles)
    print("=" * _WIDTH)


_LINES = (
    ("Successful requests:", "completed"),
    ("Failed requests:", "failed"),
    ("Maximum request concurrency:", "max_concurrency"),
    ("Request rate configured (RPS):", "request_rate"),
    ("Benchmark duration (s):", "duration"),
    ("Total input tokens:", "total_input_tokens"),
    ("Total generated tokens:", "total_output_tokens"),
    ("Request throughput (req/s):", "request_throughput"),
    ("Output token throughput (tok/s):", "output_throughput"),
    ("Peak output token throughput (tok/s):", "max_output_tokens_per_s"),
    ("Peak concurrent requests:", "max_concurrent_requests"),
    ("Total token throughput (tok/s):", "total_token_throughput"),
)


def _print_metric(name: str, result: Mapping[str, Any], percents: Sequence[float]) -> None:
    print(f"{_TITLES[name]:-^{_WIDTH}}")
    _print_line(f"Mean {name.upper()} (ms):", result[f"mean_{name}_ms"])
    _print_line(f"Median {name.upper()} (ms):", result[f"median_{name}_ms"])
    for percent in percents:
        _print_line(f"P{percent:g} {name.upper()} (ms):", result[f"p{percent:g}_{name}_ms"])


def _print_line(words: str, value: float) -> None:
    print(f"{words:<40} {value:<10.2f}" if isinstance(value, float) else f"{words:<40} {value:<10}")


def file_name(result: Mapping[str, Any], options: ServeBenchOptions) -> str:
    """The given one, or one that tells label, load, model and time."""
    if options.result_filename is not None:
        return options.result_filename
    concurrency = "" if options.max_concurrency is None else f"-concurrency{options.max_concurrency}"
    model = re.sub(r"[^\w.-]", "_", result["model_id"].rstrip("/").rpartition("/")[2])
    return f"{options.label or options.backend}-{options.request_rate:g}qps{concurrency}-{model}-{result['date']}.json"
