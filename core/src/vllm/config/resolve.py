"""Owns the way from `EngineArgs` to the finished `VllmConfig`: platform, model, limits, checks, the platform's own changes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

from vllm import envs
from vllm.config.cache import CacheConfig
from vllm.config.load import LoadConfig
from vllm.config.parallel import ParallelConfig
from vllm.config.resolve_checks import capture_sizes, check_capabilities, check_combinations, check_importable
from vllm.config.resolve_limits import fit_limits
from vllm.config.resolve_model import resolve_model
from vllm.config.scheduler import SchedulerConfig
from vllm.config.vllm import CompilationConfig, ObservabilityConfig, VllmConfig
from vllm.errors import PluginError
from vllm.logger import init_logger
from vllm.platforms.capabilities import Feature
from vllm.platforms.resolution import resolve_platform

if TYPE_CHECKING:
    from vllm.config.engine_args import EngineArgs
    from vllm.platforms.interface import Platform

__all__ = ["create_engine_config"]

logger = init_logger(__name__)


def create_engine_config(args: EngineArgs, platform: Platform | None = None) -> VllmConfig:
    """See `EngineArgs.create_engine_config`; `platform` replaces this machine's, for tests of plugins."""
    platform = platform or resolve_platform()
    draft = _draft(args, platform)
    check_combinations(args, draft, platform)
    fitted = fit_limits(args, draft, platform.scheduling_constraints(draft))
    check_capabilities(args, fitted, platform)
    config = _updated_by(platform, fitted)
    check_importable(config)
    logger.info("Using max model len %d", config.model_config.max_model_len)
    return config


# ---- the draft: one section after the other


def _draft(args: EngineArgs, platform: Platform) -> VllmConfig:
    return VllmConfig(
        model_config=resolve_model(args, platform),
        cache_config=_cache(args, platform),
        scheduler_config=_scheduler(args, platform),
        parallel_config=_parallel(args),
        load_config=LoadConfig(
            load_format=args.load_format, use_tqdm_on_load=args.use_tqdm_on_load, download_dir=args.download_dir
        ),
        compilation_config=CompilationConfig(capture_sizes=capture_sizes(args)),
        observability_config=ObservabilityConfig(
            log_stats=not args.disable_log_stats, log_stats_interval_s=envs.VLLM_LOG_STATS_INTERVAL
        ),
        platform=f"{type(platform).__module__}.{type(platform).__qualname__}",
        attention_backend=args.attention_backend,
        additional_config=args.additional_config or {},
    )


def _cache(args: EngineArgs, platform: Platform) -> CacheConfig:
    return CacheConfig(
        memory_utilization=args.gpu_memory_utilization,
        kv_cache_memory_bytes=args.kv_cache_memory_bytes,
        num_blocks_override=args.num_gpu_blocks_override,
        cache_dtype=args.kv_cache_dtype,
        enable_prefix_caching=_on_where_possible(args.enable_prefix_caching, platform, Feature.PREFIX_CACHING),
        prefix_caching_hash_algo=args.prefix_caching_hash_algo,
        watermark=args.watermark,
    )


def _scheduler(args: EngineArgs, platform: Platform) -> SchedulerConfig:
    return SchedulerConfig(
        long_prefill_token_threshold=args.long_prefill_token_threshold,
        enable_chunked_prefill=_on_where_possible(args.enable_chunked_prefill, platform, Feature.CHUNKED_PREFILL),
        policy=args.scheduling_policy,
        async_scheduling=bool(args.async_scheduling),
        scheduler_cls=args.scheduler_cls,
        max_num_queued_reqs=args.max_num_queued_reqs,
        max_num_queued_tokens=args.max_num_queued_tokens,
        stream_interval=args.stream_interval,
    )


def _parallel(args: EngineArgs) -> ParallelConfig:
    several = args.tensor_parallel_size * args.pipeline_parallel_size > 1
    return ParallelConfig(
        tensor_parallel_size=args.tensor_parallel_size,
        pipeline_parallel_size=args.pipeline_parallel_size,
        data_parallel_size=args.data_parallel_size,
        distributed_executor_backend=args.distributed_executor_backend or ("mp" if several else "uni"),
        worker_cls=args.worker_cls,
        worker_extension_cls=args.worker_extension_cls,
    )


def _on_where_possible(asked: bool | None, platform: Platform, feature: Feature) -> bool:
    """The user's word (checked later), else whether the platform can."""
    if asked is not None:
        return asked
    capability = platform.capability(feature)
    if not capability.is_usable:
        logger.info("%s is off: the platform %s says %s.", feature.words.capitalize(), platform.name, capability)
    return capability.is_usable


# ---- the platform's word


def _updated_by(platform: Platform, config: VllmConfig) -> VllmConfig:
    """What the platform makes of it, each change logged with its reason."""
    updated = platform.check_and_update_config(config)
    if not isinstance(updated, VllmConfig):
        raise PluginError(
            f"{platform.name}: check_and_update_config returned {type(updated).__name__} instead of a VllmConfig.",
            remedy="return config, or config.with_changes(reason, section={...})",
        )
    for path, before, after in _differences(config, updated):
        reason = updated.change_reasons.get(path, "it gave no reason")
        logger.info("The platform %s changed %s from %r to %r: %s", platform.name, path, before, after, reason)
    return updated


def _differences(before: Any, after: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(dotted field, old value, new value) of every field that differs, section by section."""
    for each in fields(before):
        old, new = getattr(before, each.name), getattr(after, each.name)
        name = f"{path}{each.name}"
        if is_dataclass(old) and type(old) is type(new):
            yield from _differences(old, new, f"{name}.")
        elif old != new and name != "change_reasons":
            yield name, old, new
