"""What the platform says of itself, and what it refuses before weights are read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vllm.config import VllmConfig
from vllm.config.engine_args import EngineArgs
from vllm.config.resolve import create_engine_config
from vllm.errors import ConfigError, WorkerError
from vllm.platforms import Feature
from vllm_spyre.manifest import Manifest
from vllm_spyre.platform import SpyrePlatform

GIB = 2**30


def make_config(**options: object) -> VllmConfig:
    return create_engine_config(EngineArgs.from_kwargs({"max_model_len": 256, **options}), SpyrePlatform())


def on_the_card(monkeypatch: pytest.MonkeyPatch) -> SpyrePlatform:
    monkeypatch.setenv("VLLM_SPYRE_DYNAMO_BACKEND", "sendnn")
    return SpyrePlatform()


def test_the_card_computes_in_fp16_a_cpu_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert SpyrePlatform().supported_dtypes() == ("bfloat16", "float32")
    assert on_the_card(monkeypatch).supported_dtypes() == ("float16",)
    assert make_config().model_config.dtype == "float16"


def test_blocks_have_one_size() -> None:
    with pytest.raises(ConfigError, match=r"block_size .* is 128, but Spyre's cache has blocks of 64 tokens"):
        make_config(block_size=128)
    assert make_config().cache_config.block_size == 64


def test_a_context_past_the_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_DT_MAX_CONTEXT_LEN", "128")
    with pytest.raises(ConfigError, match="holds at most 128 tokens"):
        make_config()


def test_every_feature_has_an_answer() -> None:
    assert set(SpyrePlatform().capabilities()) == set(Feature)


def test_on_a_cpu_a_requests_error_costs_its_step_but_what_the_card_refuses_ends_the_engine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("VLLM_SPYRE_DYNAMO_BACKEND", "eager")
    assert SpyrePlatform().survives(ValueError("of a request's processor"))
    assert not SpyrePlatform().survives(WorkerError("of a shape that was not compiled"))
    assert not on_the_card(monkeypatch).survives(ValueError("of a request's processor"))


def test_the_cache_has_the_same_size_at_the_next_start(monkeypatch: pytest.MonkeyPatch) -> None:
    config = make_config()
    assert SpyrePlatform().default_kv_cache_bytes(config, 3 * GIB + 5) == 3 * GIB
    assert SpyrePlatform().default_kv_cache_bytes(config, 77 * GIB) == 4 * GIB
    assert SpyrePlatform().default_kv_cache_bytes(config, 1000) == 1000
    assert on_the_card(monkeypatch).default_kv_cache_bytes(config, 77 * GIB + 1) == 77 * GIB


def test_cards_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert SpyrePlatform().device_count() == os.cpu_count()
    monkeypatch.setenv("AIU_WORLD_SIZE", "4")
    assert on_the_card(monkeypatch).device_count() == 4


def test_a_later_start_finds_what_was_compiled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VLLM_CACHE_ROOT", str(tmp_path))
    config = make_config()
    first = Manifest(config, "inductor", 9)
    assert first.known == {}
    first.write({"decode of 1 row": 5.0})
    second = Manifest(config, "inductor", 9)
    assert second.known == {"decode of 1 row": 5.0}
    second.write({"decode of 1 row": 0.5, "decode of 2 rows": 4.0})
    assert Manifest(config, "inductor", 9).known == {"decode of 1 row": 5.0, "decode of 2 rows": 4.0}
    others = [(config, "sendnn", 9), (config, "inductor", 10), (make_config(max_model_len=512), "inductor", 9)]
    assert [dict(Manifest(*other).known) for other in others] == [{}, {}, {}]
    second.path.write_text("{")
    assert Manifest(config, "inductor", 9).known == {}
