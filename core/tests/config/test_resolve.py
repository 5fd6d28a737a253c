"""From options to the configuration: what is derived from model and platform, what the platform changes."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.tests.settable_platform import SettablePlatform
from vllm.config import VllmConfig
from vllm.config.engine_args import EngineArgs
from vllm.config.resolve import create_engine_config
from vllm.errors import ConfigError, ModelLoadError, PluginError
from vllm.platforms.capabilities import Capability, Feature

PROCESSOR = "vllm.sampling.logits_processors_interface.LogitsProcessor"
WriteModel = Callable[..., str]


def _resolve(model: str, platform: SettablePlatform | None = None, **options: Any) -> VllmConfig:
    return create_engine_config(EngineArgs(model=model, **options), platform or SettablePlatform())


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What is logged, although vLLM's logger does not propagate."""
    logger = logging.getLogger("vllm")
    logger.addHandler(caplog.handler)
    caplog.set_level(logging.INFO, logger="vllm")
    yield caplog
    logger.removeHandler(caplog.handler)


def test_everything_is_derived_from_the_model(write_model: WriteModel, log: pytest.LogCaptureFixture) -> None:
    folder = write_model(generation_config={"temperature": 0.6, "eos_token_id": [9, 7]})
    config = _resolve(folder)
    model = config.model_config
    assert (model.model, model.tokenizer, model.served_model_name) == (folder, folder, folder)
    assert (model.architecture, model.dtype, model.max_model_len) == ("LlamaForCausalLM", "bfloat16", 4096)
    assert (model.vocab_size, model.eos_token_ids) == (100, (9, 7))
    assert model.generation_config == {"temperature": 0.6, "eos_token_id": [9, 7]}
    assert config.platform == "core.tests.settable_platform.SettablePlatform"
    assert config.parallel_config.distributed_executor_backend == "uni"
    assert config.scheduler_config.async_scheduling is False
    assert {"Resolved architecture: LlamaForCausalLM", "Using max model len 4096"} <= set(log.messages)


def test_the_default_model_is_the_embedded_one_and_that_is_said(log: pytest.LogCaptureFixture) -> None:
    config = create_engine_config(EngineArgs(), SettablePlatform())
    assert config.model_config.served_model_name == "tiny"
    assert any("the tiny one inside this package is used" in message for message in log.messages)


def test_a_revision_of_a_folder_has_no_effect_and_that_is_said(
    write_model: WriteModel, log: pytest.LogCaptureFixture
) -> None:
    folder = write_model()
    _resolve(folder, revision="v1")
    assert f"revision v1 has no effect on the model: {folder} is a folder and not a name." in log.messages


def test_overrides_of_the_generation_config_count_or_are_said_to_have_no_effect(
    write_model: WriteModel, log: pytest.LogCaptureFixture
) -> None:
    folder = write_model(generation_config={"eos_token_id": 9})
    config = _resolve(folder, override_generation_config={"eos_token_id": [5, 6], "temprature": 1})
    assert config.model_config.eos_token_ids[:2] == (5, 6)
    assert 9 not in config.model_config.eos_token_ids
    assert any(said.startswith("temprature in --override-generation-config has no effect") for said in log.messages)


def test_options_land_in_their_sections(write_model: WriteModel) -> None:
    config = _resolve(
        write_model(),
        dtype="float",
        max_model_len="1k",
        served_model_name=["a", "b"],
        kv_cache_memory_bytes="1M",
        num_gpu_blocks_override=5,
        scheduling_policy="priority",
        additional_config={"x": 1},
        cudagraph_capture_sizes=[4, 1, 4],
        logits_processors=[PROCESSOR],
        disable_log_stats=True,
    )
    assert (config.model_config.dtype, config.model_config.max_model_len) == ("float32", 1000)
    assert (config.model_config.served_model_name, config.model_config.served_model_aliases) == ("a", ("b",))
    assert config.model_config.logits_processors == (PROCESSOR,)
    assert (config.cache_config.kv_cache_memory_bytes, config.cache_config.num_blocks_override) == (2**20, 5)
    assert config.scheduler_config.policy == "priority"
    assert config.additional_config == {"x": 1}
    assert config.compilation_config.capture_sizes == (1, 4)
    assert config.observability_config.log_stats is False


def test_hf_overrides_come_before_everything(write_model: WriteModel) -> None:
    config = _resolve(write_model(), hf_overrides={"max_position_embeddings": 512, "vocab_size": 33})
    assert (config.model_config.max_model_len, config.model_config.vocab_size) == (512, 33)


def test_auto_length_starts_from_the_model_and_says_that_it_may_shrink(write_model: WriteModel) -> None:
    config = _resolve(write_model(), max_model_len="auto")
    assert config.model_config.max_model_len == 4096
    assert config.model_config.fits_max_model_len_to_cache is True


def test_a_context_beyond_the_model(write_model: WriteModel, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"--max-model-len.*is 5000, but the model's config allows 4096 tokens"):
        _resolve(write_model(), max_model_len=5000)
    monkeypatch.setenv("VLLM_ALLOW_LONG_MAX_MODEL_LEN", "1")
    assert _resolve(write_model(), max_model_len=5000).model_config.max_model_len == 5000


@pytest.mark.parametrize("vocab_size", [None, 0, "many"])
def test_a_config_without_vocabulary(write_model: WriteModel, vocab_size: object) -> None:
    with pytest.raises(ConfigError, match=r"vocab_size .*a whole number > 0 is needed"):
        _resolve(write_model(vocab_size=vocab_size))


def test_sources_of_the_generation_config(write_model: WriteModel, tmp_path: Path) -> None:
    folder = write_model(generation_config={"temperature": 0.6, "eos_token_id": 9})
    none = _resolve(folder, generation_config="vllm", override_generation_config={"top_p": 0.5})
    assert none.model_config.generation_config == {"top_p": 0.5}
    assert none.model_config.eos_token_ids == (9, 7), (
        "the end of text belongs to the model, not to the sampling defaults"
    )
    other = tmp_path / "other"
    other.mkdir()
    (other / "generation_config.json").write_text('{"temperature": 0.1}')
    assert _resolve(folder, generation_config=str(other)).model_config.generation_config == {"temperature": 0.1}
    with pytest.raises(ModelLoadError, match="There is no folder"):
        _resolve(folder, generation_config=str(tmp_path / "nowhere"))


def test_chat_template_from_file_or_text(write_model: WriteModel, tmp_path: Path) -> None:
    (tmp_path / "t.jinja").write_text("{{ x }}")
    assert _resolve(write_model(), chat_template=str(tmp_path / "t.jinja")).model_config.chat_template == "{{ x }}"
    assert _resolve(write_model(), chat_template="{{ y }}").model_config.chat_template == "{{ y }}"
    with pytest.raises(ConfigError, match="there is no such file, and it is no Jinja template"):
        _resolve(write_model(), chat_template="nowhere.jinja")


@pytest.mark.parametrize("feature, field", [(Feature.PREFIX_CACHING, "prefix"), (Feature.CHUNKED_PREFILL, "chunked")])
def test_features_left_open_are_on_where_the_platform_can(
    write_model: WriteModel, feature: Feature, field: str, log: pytest.LogCaptureFixture
) -> None:
    def switch(config: VllmConfig) -> bool:
        prefix, chunked = config.cache_config.enable_prefix_caching, config.scheduler_config.enable_chunked_prefill
        return prefix if field == "prefix" else chunked

    assert switch(_resolve(write_model()))
    without = SettablePlatform(capabilities={feature: Capability.not_yet("nobody wrote it")})
    assert not switch(_resolve(write_model(), without))
    assert any("not yet (nobody wrote it)" in message for message in log.messages)


def test_changes_of_the_platform_are_logged_with_their_reason(
    write_model: WriteModel, log: pytest.LogCaptureFixture
) -> None:
    def change(config: VllmConfig) -> VllmConfig:
        config = config.with_changes("the kernel's tile", cache_config={"block_size": 128})
        return config.with_changes(model_config={"enforce_eager": True})

    config = _resolve(write_model(), SettablePlatform(change=change))
    assert config.cache_config.block_size == 128
    said = [message for message in log.messages if message.startswith("The platform settable changed")]
    assert said == [
        "The platform settable changed model_config.enforce_eager from False to True: it gave no reason",
        "The platform settable changed cache_config.block_size from 16 to 128: the kernel's tile",
    ]


def test_a_platform_that_returns_no_config(write_model: WriteModel) -> None:
    with pytest.raises(PluginError, match="check_and_update_config returned NoneType instead of a VllmConfig"):
        _resolve(write_model(), SettablePlatform(change=lambda config: None))


def test_no_torch_is_imported_on_the_way() -> None:
    code = """
import sys
from vllm.config.engine_args import EngineArgs
EngineArgs().create_engine_config()
print([name for name in ("torch", "transformers") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]", done.stderr
