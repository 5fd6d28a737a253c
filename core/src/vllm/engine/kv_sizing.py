"""Owns how many KV-cache blocks an engine gets, and the words when they are too few. No torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vllm.errors import ConfigError
from vllm.logger import init_logger
from vllm.worker.kv_cache_spec import KVCacheConfig

if TYPE_CHECKING:
    from vllm.config import VllmConfig
    from vllm.worker.kv_cache_spec import KVCacheGroup

__all__ = ["size_kv_cache"]

logger = init_logger(__name__)
NULL_BLOCKS = 1
"""Block 0 is never given to a request: padding rows write there."""


def size_kv_cache(
    config: VllmConfig, groups: tuple[KVCacheGroup, ...], available_bytes: int
) -> tuple[KVCacheConfig, VllmConfig]:
    """The cache that `available_bytes` pay for (or the user's own number of blocks), checked to hold one full-length request.

    The configuration comes back with `num_blocks` filled in, and with `--max-model-len auto` the context cut to the cache.

    Raises:
        ConfigError: the cache cannot hold `max_model_len` tokens; says how many fit and which flags to turn.
    """
    (group,) = groups  # one group at first; the messages and the spec are ready for more
    block_size = group.spec.block_size
    override = config.cache_config.num_blocks_override
    usable_blocks = override if override is not None else max(0, available_bytes // group.bytes_per_block - NULL_BLOCKS)
    capacity_tokens = usable_blocks * block_size
    if config.model_config.fits_max_model_len_to_cache:
        config = _cut_context(config, capacity_tokens)
    _check_one_request_fits(config, capacity_tokens, group.bytes_per_block / block_size)
    _log_capacity(capacity_tokens, config.model_config.max_model_len)
    num_blocks = usable_blocks + NULL_BLOCKS
    return (
        KVCacheConfig(num_blocks=num_blocks, block_size=block_size, groups=groups),
        config.with_changes(cache_config={"num_blocks": num_blocks}),
    )


def _cut_context(config: VllmConfig, capacity_tokens: int) -> VllmConfig:
    if not 0 < capacity_tokens < config.model_config.max_model_len:
        return config
    logger.info("Using max model len %d: as long as the KV cache holds", capacity_tokens)
    return config.with_changes(model_config={"max_model_len": capacity_tokens})


def _check_one_request_fits(config: VllmConfig, capacity_tokens: int, bytes_per_token: float) -> None:
    max_model_len = config.model_config.max_model_len
    if capacity_tokens >= max_model_len:
        return
    needed_mib = max_model_len * bytes_per_token / 2**20
    raise ConfigError(
        f"The context of {max_model_len} tokens needs {needed_mib:.1f} MiB of KV cache, but the cache holds only "
        f"{capacity_tokens} tokens ({capacity_tokens * bytes_per_token / 2**20:.1f} MiB)",
        cause="the model and the step's activations leave too little memory for one request of full length",
        remedy=_remedy(config, capacity_tokens),
    )


def _remedy(config: VllmConfig, capacity_tokens: int) -> str:
    shorter = f"lower --max-model-len to {capacity_tokens} or less"
    if config.cache_config.num_blocks_override is not None:
        return f"raise --num-gpu-blocks-override, or {shorter}"
    more = (
        "give the cache more memory: raise --gpu-memory-utilization, --kv-cache-memory-bytes, "
        "or on a CPU VLLM_CPU_KVCACHE_SPACE"
    )
    if capacity_tokens == 0:
        return f"{more}; or use a smaller model, or spread it with --tensor-parallel-size: no context is short enough"
    return f"{shorter}, or {more}"


def _log_capacity(capacity_tokens: int, max_model_len: int) -> None:
    logger.info("KV cache size: %s tokens", f"{capacity_tokens:,}")
    logger.info(
        "Maximum concurrency for %s tokens per request: %.2fx", f"{max_model_len:,}", capacity_tokens / max_model_len
    )
