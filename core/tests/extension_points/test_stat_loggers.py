"""Stat loggers from outside: classes of the entry-point group `vllm.stat_logger_plugins`, fed after every step."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import pytest

from core.tests.extension_points.engines import assert_refused, example_engine, generated, plain_tokens, prompt_lengths
from vllm.engine.scheduler.interface import SchedulerStats
from vllm.engine.stat_logger import FinishedRequestStats, StatLoggerBase
from vllm.errors import PluginError


class Telemetry(StatLoggerBase):
    """Keeps what it is told."""

    running: ClassVar[list[int]] = []
    finished: ClassVar[list[FinishedRequestStats]] = []
    num_logs: ClassVar[list[str]] = []

    def record(self, stats: SchedulerStats, finished: Sequence[FinishedRequestStats]) -> None:
        self.running.append(stats.num_running)
        self.finished.extend(finished)

    def log(self) -> None:
        self.num_logs.append(self.config.model_config.served_model_name)


class Fragile(StatLoggerBase):
    calls: ClassVar[list[int]] = []

    def record(self, stats: SchedulerStats, finished: Sequence[FinishedRequestStats]) -> None:
        self.calls.append(stats.num_running)
        raise ConnectionError("the telemetry server is gone")


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, **classes: str) -> None:
    """A real distribution in a folder of sys.path, whose entry points name the classes."""
    info = folder / "chip_telemetry-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: chip-telemetry\nVersion: 1.0\n")
    lines = [f"{name} = {__name__}:{attribute}" for name, attribute in classes.items()]
    (info / "entry_points.txt").write_text("\n".join(["[vllm.stat_logger_plugins]", *lines]) + "\n")
    monkeypatch.syspath_prepend(folder)
    importlib.invalidate_caches()


@pytest.fixture(autouse=True)
def forget() -> None:
    for kept in (Telemetry.running, Telemetry.finished, Telemetry.num_logs, Fragile.calls):
        kept.clear()


def test_every_step_and_every_end_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, telemetry="Telemetry")
    monkeypatch.setenv("VLLM_LOG_STATS_INTERVAL", "1e-9")
    with example_engine() as engine:
        generated(engine)
        prompt_tokens = prompt_lengths(engine)
    assert Telemetry.running == [3] * 11 + [0]
    assert [(one.request_id, one.num_prompt_tokens, one.num_generation_tokens) for one in Telemetry.finished] == [
        (str(index), count, 12) for index, count in enumerate(prompt_tokens)
    ]
    assert all(one.finish_reasons == ("length",) and one.num_preemptions == 0 for one in Telemetry.finished)
    assert all(0 < (one.time_to_first_token_s or 0) < (one.e2e_latency_s or 0) for one in Telemetry.finished)
    assert len(Telemetry.num_logs) == 12, "asked to write whenever the statistics line is"


def test_one_that_raises_is_left_out_and_the_engine_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = plain_tokens()
    install(tmp_path, monkeypatch, fragile="Fragile", telemetry="Telemetry")
    with example_engine() as engine:
        assert generated(engine) == plain
    assert len(Fragile.calls) == 1
    assert len(Telemetry.running) == 12


def test_without_statistics_none_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, telemetry="Telemetry")
    with example_engine(disable_log_stats=True) as engine:
        generated(engine)
    assert Telemetry.running == []


def test_something_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, wrong="install")
    assert_refused(PluginError, r"The stat logger 'wrong' is .* no subclass of .*StatLoggerBase")
