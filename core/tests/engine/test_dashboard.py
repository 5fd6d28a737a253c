"""The Grafana dashboard asks only for metrics and labels that the engine exposes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from vllm.config.engine_args import EngineArgs
from vllm.engine.metrics import EngineMetrics

DASHBOARD = Path(__file__).parents[3] / "docs" / "grafana" / "vllm.json"
QUERY = re.compile(r"(vllm:\w+)(?:\{([^}]*)\})?")
GROUPED = re.compile(r"by \(([^)]*)\)")


@pytest.fixture(scope="module")
def exposed() -> dict[str, set[str]]:
    """Sample name -> its labels, of an engine that has done nothing yet."""
    metrics = EngineMetrics(EngineArgs().create_engine_config(), {})
    families = text_string_to_metric_families(generate_latest(metrics.registry).decode())
    return {sample.name: set(sample.labels) for family in families for sample in family.samples}


def queries() -> list[str]:
    board = json.loads(DASHBOARD.read_text())
    asked = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    return asked + [
        each["query"]["query"].removeprefix("label_values(")
        for each in board["templating"]["list"]
        if each["type"] == "query"
    ]


@pytest.mark.parametrize("query", queries())
def test_every_query_resolves(query: str, exposed: dict[str, set[str]]) -> None:
    for name, selector in QUERY.findall(query):
        assert name in exposed, f"{name} is not exposed"
        asked = {part.partition("=")[0].strip() for part in selector.split(",") if part}
        grouped = {label.strip() for group in GROUPED.findall(query) for label in group.split(",")}
        assert asked | grouped <= exposed[name], f"{name} has only the labels {sorted(exposed[name])}"
