"""Contradictions and missing capabilities are refused before anything is loaded, with the flags' names."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import pytest

from core.tests.settable_platform import SettablePlatform
from vllm.config import VllmConfig
from vllm.config.engine_args import EngineArgs
from vllm.config.resolve import create_engine_config
from vllm.errors import ConfigError, VllmError
from vllm.platforms.capabilities import Capability, Feature
from vllm.sampling.logits_processors_interface import LogitsProcessor

WriteModel = Callable[..., str]


def _resolve(model: str, platform: SettablePlatform | None = None, **options: Any) -> VllmConfig:
    return create_engine_config(EngineArgs(model=model, **options), platform or SettablePlatform())


@pytest.mark.parametrize(
    "options, words",
    [
        (
            {"pipeline_parallel_size": 2},
            "--pipeline-parallel-size.* is 2, but this release has no pipeline parallelism",
        ),
        ({"data_parallel_size": 2}, "no data parallelism"),
        ({"distributed_executor_backend": "ray"}, "ray is not in this release"),
        ({"distributed_executor_backend": "uni", "tensor_parallel_size": 2}, "uni runs one worker, .* 2 needs 2"),
        ({"tensor_parallel_size": 4}, r"is 4, but the model's 6 attention heads(.|\n)*use one of 1, 2, 6"),
        ({"tensor_parallel_size": 3}, "2 key-value heads can neither be shared nor repeated"),
        (
            {"quantization": "awq"},
            "by the method 'awq', which is not known. Known: compressed-tensors, int8_per_channel",
        ),
        ({"skip_tokenizer_init": True, "chat_template": "{{x}}"}, "contradict each other"),
        ({"compilation_config": {"cudagraph_capture_size": [1]}}, "Did you mean: cudagraph_capture_sizes"),
        ({"compilation_config": {"cudagraph_capture_sizes": [0]}}, "a list of whole numbers >= 1"),
        ({"compilation_config": {"cudagraph_capture_sizes": [1]}, "cudagraph_capture_sizes": [1]}, "given twice"),
    ],
)
def test_what_cannot_be(write_model: WriteModel, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        _resolve(write_model(), **options)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"scheduler_cls": "nowhere.Scheduler"}, "--scheduler-cls names 'nowhere.Scheduler', which cannot be loaded"),
        ({"scheduler_cls": "json.JSONDecoder"}, "no subclass of vllm.engine.scheduler.interface.SchedulerInterface"),
        ({"logits_processors": ["nowhere.Processor"]}, "'nowhere.Processor' cannot be loaded"),
    ],
)
def test_classes_that_cannot_be_loaded_are_found_before_the_weights_are(
    write_model: WriteModel, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(VllmError, match=words):
        _resolve(write_model(), **options)


@pytest.mark.skipif(find_spec("xxhash") is not None, reason="xxhash is installed")
def test_a_hash_that_is_not_installed(write_model: WriteModel) -> None:
    with pytest.raises(ConfigError, match="needs the package xxhash"):
        _resolve(write_model(), prefix_caching_hash_algo="xxhash")


def test_a_quantised_checkpoint(write_model: WriteModel) -> None:
    with pytest.raises(ConfigError, match="by the method 'gptq', which is not known"):
        _resolve(write_model(quantization_config={"quant_method": "gptq"}))


def test_more_ranks_than_devices(write_model: WriteModel) -> None:
    with pytest.raises(
        ConfigError, match=r"--tensor-parallel-size\) is 2, but the platform settable has 1 device here"
    ):
        _resolve(write_model(), SettablePlatform(devices=1), tensor_parallel_size=2)


def test_ranks_that_fit_run_in_processes(write_model: WriteModel) -> None:
    parallel = _resolve(write_model(), tensor_parallel_size=2).parallel_config
    assert (parallel.world_size, parallel.distributed_executor_backend) == (2, "mp")
    assert _resolve(write_model(), tensor_parallel_size=6).parallel_config.world_size == 6, (
        "key-value heads are repeated"
    )


@pytest.mark.parametrize(
    "feature, options, asked",
    [
        (Feature.TENSOR_PARALLEL, {"tensor_parallel_size": 2}, "--tensor-parallel-size"),
        (Feature.CHUNKED_PREFILL, {"enable_chunked_prefill": True}, "--enable-chunked-prefill"),
        (Feature.PREFIX_CACHING, {"enable_prefix_caching": True}, "--enable-prefix-caching"),
        (Feature.ASYNC_SCHEDULING, {"async_scheduling": True}, "--async-scheduling"),
        (Feature.CUSTOM_LOGITS_PROCESSORS, {"logits_processors": [LogitsProcessor]}, "--logits-processors"),
        (Feature.SLEEP_MODE, {"enable_sleep_mode": True}, "--enable-sleep-mode"),
        (Feature.QUANTIZED_KV_CACHE, {"kv_cache_dtype": "fp8"}, "--kv-cache-dtype fp8"),
        (Feature.GRAPH_CAPTURE, {"cudagraph_capture_sizes": [1]}, "--cudagraph-capture-sizes"),
    ],
)
def test_options_that_the_platform_cannot_do(
    write_model: WriteModel, feature: Feature, options: dict[str, Any], asked: str
) -> None:
    _resolve(write_model(), **options)
    unable = SettablePlatform(capabilities={feature: Capability.unsupported("there is no unit for it")})
    with pytest.raises(ConfigError, match=f"{asked} asks for .*settable cannot do: there is no unit for it"):
        _resolve(write_model(), unable, **options)


@pytest.mark.parametrize(
    "feature, entries",
    [
        (Feature.SLIDING_WINDOW, {"sliding_window": 128}),
        (Feature.MIXTURE_OF_EXPERTS, {"num_local_experts": 8}),
    ],
)
def test_models_that_the_platform_cannot_run(
    write_model: WriteModel, feature: Feature, entries: dict[str, Any]
) -> None:
    unable = SettablePlatform(capabilities={feature: Capability.not_yet("not written")})
    with pytest.raises(ConfigError, match=r"the model \(LlamaForCausalLM\) asks for"):
        _resolve(write_model(**entries), unable)


@pytest.mark.parametrize("entries", [{"sliding_window": 4096}, {"sliding_window": 8, "use_sliding_window": False}])
def test_windows_that_never_cut_need_nothing(write_model: WriteModel, entries: dict[str, Any]) -> None:
    unable = SettablePlatform(capabilities={Feature.SLIDING_WINDOW: Capability.not_yet("not written")})
    _resolve(write_model(**entries), unable)
