"""Owns the checks of a drafted configuration: what the options contradict, what the platform cannot do. Before weights are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vllm.errors import ConfigError, near_names
from vllm.platforms.capabilities import Feature, require

if TYPE_CHECKING:
    from vllm.config.engine_args import EngineArgs
    from vllm.config.parallel import ParallelConfig
    from vllm.config.vllm import VllmConfig
    from vllm.platforms.interface import Platform

__all__ = ["capture_sizes", "check_capabilities", "check_combinations", "check_importable"]


def check_combinations(args: EngineArgs, config: VllmConfig, platform: Platform) -> None:
    """Refuse what no platform of this release can do, and parallelism that does not fit model or machine."""
    _check_parallel_kinds(config.parallel_config)
    _check_tensor_parallel(config, platform)
    _check_quantization(config, platform)
    if args.skip_tokenizer_init and args.chat_template is not None:
        raise ConfigError(
            "skip_tokenizer_init (--skip-tokenizer-init) and chat_template (--chat-template) contradict each other."
        )


# ---- parallelism


def _check_parallel_kinds(parallel: ParallelConfig) -> None:
    for name, words in (("pipeline_parallel_size", "pipeline parallelism"), ("data_parallel_size", "data parallelism")):
        size = getattr(parallel, name)
        if size > 1:
            flag = "--" + name.replace("_", "-")
            raise ConfigError(
                f"{name} ({flag}) is {size}, but this release has no {words}.",
                remedy="use --tensor-parallel-size, or start several engines",
            )
    backend = parallel.distributed_executor_backend
    if backend in ("ray", "external_launcher"):
        raise ConfigError(
            f"distributed_executor_backend (--distributed-executor-backend) {backend} is not in this release.",
            remedy="use mp, or the dotted path of an executor of your own",
        )
    if backend == "uni" and parallel.world_size > 1:
        raise ConfigError(
            f"distributed_executor_backend (--distributed-executor-backend) uni runs one worker, but tensor_parallel_size "
            f"(--tensor-parallel-size) {parallel.tensor_parallel_size} needs {parallel.world_size}.",
            remedy="leave --distributed-executor-backend out, or use mp",
        )


def _check_tensor_parallel(config: VllmConfig, platform: Platform) -> None:
    ranks = config.parallel_config.tensor_parallel_size
    if ranks == 1:
        return
    asked = f"tensor_parallel_size (--tensor-parallel-size) is {ranks}"
    require(
        Feature.TENSOR_PARALLEL,
        platform.capability(Feature.TENSOR_PARALLEL),
        platform=platform.name,
        option="--tensor-parallel-size",
    )
    devices = platform.device_count()
    if devices < ranks:
        raise ConfigError(f"{asked}, but the platform {platform.name} has {devices} device{'s'[: devices != 1]} here.")
    _check_heads(asked, ranks, config.model_config.hf_config)


def _check_heads(asked: str, ranks: int, hf_config: Mapping[str, Any]) -> None:
    heads = hf_config.get("num_attention_heads") or ranks
    kv_heads = hf_config.get("num_key_value_heads") or heads
    if heads % ranks:
        raise ConfigError(
            f"{asked}, but the model's {heads} attention heads cannot be shared evenly.",
            remedy=_sizes_that_work(heads, kv_heads),
        )
    if kv_heads % ranks and ranks % kv_heads:
        raise ConfigError(
            f"{asked}, but the model's {kv_heads} key-value heads can neither be shared nor repeated evenly.",
            remedy=_sizes_that_work(heads, kv_heads),
        )


def _sizes_that_work(heads: int, kv_heads: int) -> str:
    sizes = [n for n in range(1, heads + 1) if heads % n == 0 and (kv_heads % n == 0 or n % kv_heads == 0)]
    return f"use one of {', '.join(map(str, sizes))}"


# ---- the model


def _check_quantization(config: VllmConfig, platform: Platform) -> None:
    """The method is known, the platform can do it, and it implements all that the checkpoint's settings ask for."""
    from vllm.model_executor.layers.quantization_registry import (
        quantization_config,
        quantization_method,
        quantization_settings,
    )

    model = config.model_config
    method = quantization_method(model)
    if method is None:
        return
    option = f"--quantization {method}" if model.quantization else f"the checkpoint's quantization_config ({method})"
    config_cls = quantization_config(method)
    require(Feature.QUANTIZATION, platform.capability(Feature.QUANTIZATION), platform=platform.name, option=option)
    _check_supported(platform, method, option)
    config_cls.from_config(quantization_settings(model.hf_config)).check(model)


def _check_supported(platform: Platform, method: str, option: str) -> None:
    supported = platform.supported_quantization()
    if supported is not None and method not in supported:
        raise ConfigError(
            f"{option} is not what the platform {platform.name} can run; it has {', '.join(supported) or 'none'}.",
            remedy="use a checkpoint in 16 or 32 bits, or one quantised by a method of the platform's",
            candidates=near_names(method, supported),
        )


# ---- what else must be importable


def check_importable(config: VllmConfig) -> None:
    """Load now what would fail only after the weights: the engine asks for it that late."""
    if config.scheduler_config.scheduler_cls is not None:
        from vllm.engine.scheduler.selection import scheduler_class

        scheduler_class(config.scheduler_config.scheduler_cls)
    if config.model_config.logits_processors:
        from vllm.sampling.load_processors import load_logits_processors

        load_logits_processors(config.model_config.logits_processors)
    if config.cache_config.prefix_caching_hash_algo != "sha256":
        from vllm.engine.kv_cache.hashing import BlockHasher

        BlockHasher(config.cache_config.prefix_caching_hash_algo, config.cache_config.block_size)


def check_capabilities(args: EngineArgs, config: VllmConfig, platform: Platform) -> None:
    """Refuse what is asked for, by an option or by the model, and the platform does not have."""
    for feature, option in _wanted(args, config).items():
        require(feature, platform.capability(feature), platform=platform.name, option=option)


def _wanted(args: EngineArgs, config: VllmConfig) -> dict[Feature, str]:
    """Feature -> what asks for it."""
    asked = {
        Feature.CHUNKED_PREFILL: args.enable_chunked_prefill and "--enable-chunked-prefill",
        Feature.PREFIX_CACHING: args.enable_prefix_caching and "--enable-prefix-caching",
        Feature.ASYNC_SCHEDULING: args.async_scheduling and "--async-scheduling",
        Feature.CUSTOM_LOGITS_PROCESSORS: args.logits_processors and "--logits-processors",
        Feature.SLEEP_MODE: args.enable_sleep_mode and "--enable-sleep-mode",
        Feature.QUANTIZED_KV_CACHE: args.kv_cache_dtype.startswith("fp8") and f"--kv-cache-dtype {args.kv_cache_dtype}",
        Feature.GRAPH_CAPTURE: config.compilation_config.capture_sizes and "--cudagraph-capture-sizes",
        Feature.SLIDING_WINDOW: _slides(config) and f"the model ({config.model_config.architecture})",
        Feature.LOGITS_SOFT_CAP: config.model_config.hf_config.get("attn_logit_softcapping")
        and f"the model ({config.model_config.architecture})",
        Feature.MIXTURE_OF_EXPERTS: _has_experts(config) and f"the model ({config.model_config.architecture})",
    }
    return {feature: what for feature, what in asked.items() if isinstance(what, str)}


def _slides(config: VllmConfig) -> bool:
    """Whether attention windows are shorter than the context."""
    hf_config = config.model_config.hf_config
    window = hf_config.get("sliding_window")
    return (
        isinstance(window, int)
        and hf_config.get("use_sliding_window", True)
        and window < config.model_config.max_model_len
    )


def _has_experts(config: VllmConfig) -> bool:
    hf_config = config.model_config.hf_config
    return any((hf_config.get(key) or 0) > 1 for key in ("num_experts", "num_local_experts", "n_routed_experts"))


# ---- compilation


_COMPILATION_KEYS = {"cudagraph_capture_sizes": "cudagraph_capture_sizes", "capture_sizes": "cudagraph_capture_sizes"}


def capture_sizes(args: EngineArgs) -> tuple[int, ...]:
    """The decode batch sizes to capture, ascending, from either option that names them."""
    section = args.compilation_config or {}
    for key in section:
        if key not in _COMPILATION_KEYS:
            raise ConfigError(
                f"compilation_config (--compilation-config) has {key!r}, which this release does not have; it has "
                "cudagraph_capture_sizes.",
                remedy="leave it out",
                candidates=near_names(key, _COMPILATION_KEYS),
            )
    if section and args.cudagraph_capture_sizes:
        raise ConfigError("Capture sizes are given twice: by --compilation-config and by --cudagraph-capture-sizes.")
    sizes = next(iter(section.values())) if section else args.cudagraph_capture_sizes or ()
    return _ascending(sizes)


def _ascending(sizes: Any) -> tuple[int, ...]:
    if not isinstance(sizes, (list, tuple)) or not all(isinstance(size, int) and size >= 1 for size in sizes):
        raise ConfigError(f"cudagraph_capture_sizes is {sizes!r}, but it must be a list of whole numbers >= 1.")
    return tuple(sorted(set(sizes)))
