"""Owns the KV cache's memory in the torch worker: what the model's layers need, how many bytes there are, and the allocation."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from vllm.errors import WorkerError
from vllm.worker.kv_cache_spec import KVCacheGroup, KVCacheSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    from vllm.attention.backends.abstract import AttentionBackend
    from vllm.config import VllmConfig
    from vllm.platforms import Platform
    from vllm.worker.kv_cache_spec import KVCacheConfig

__all__ = ["allocate_kv_caches", "available_bytes", "cache_dtype", "kv_cache_groups"]


def cache_dtype(config: VllmConfig) -> torch.dtype:
    """dtype of stored keys and values."""
    name = config.cache_config.cache_dtype
    dtype = getattr(torch, config.model_config.dtype if name == "auto" else name)
    assert isinstance(dtype, torch.dtype), f"{name} is no torch dtype: the configuration check must refuse it"
    return dtype


def kv_cache_groups(config: VllmConfig, layers: list[Any], backend: AttentionBackend[Any]) -> tuple[KVCacheGroup, ...]:
    """One group of all attention layers.

    Raises:
        WorkerError: layers differ in heads or head size, which needs a block table each.
    """
    sizes = {(layer.spec.num_kv_heads, layer.spec.head_size) for layer in layers}
    if len(sizes) != 1:
        raise WorkerError(f"The attention layers have caches of different sizes (heads, head size): {sorted(sizes)}.")
    ((num_kv_heads, head_size),) = sizes
    block_size, dtype = config.cache_config.block_size, cache_dtype(config)
    windows = {layer.spec.sliding_window for layer in layers}
    shapes = backend.kv_cache_shapes(1, block_size, num_kv_heads, head_size)
    spec = KVCacheSpec(
        block_size=block_size,
        num_kv_heads=num_kv_heads,
        head_size=head_size,
        dtype=str(dtype).removeprefix("torch."),
        bytes_per_block=sum(math.prod(shape) for shape in shapes) * dtype.itemsize,
        sliding_window=windows.pop() if len(windows) == 1 else None,
    )
    return (KVCacheGroup(layer_names=tuple(layer.layer_name for layer in layers), spec=spec),)


def available_bytes(
    config: VllmConfig,
    platform: Platform,
    device_id: int,
    groups: tuple[KVCacheGroup, ...],
    profile: Callable[[], None],
) -> int:
    """Bytes for the KV cache: the user's number, else what the largest step leaves, as the platform takes of it."""
    wanted_bytes = config.cache_config.kv_cache_memory_bytes
    if wanted_bytes is not None:
        return wanted_bytes
    activation_bytes = _activation_bytes(platform, profile)
    platform.empty_cache()
    free_bytes, total_bytes = platform.memory_info(device_id)
    budget_bytes = int(total_bytes * config.cache_config.memory_utilization)
    left_bytes = budget_bytes - (total_bytes - free_bytes) - activation_bytes
    return min(platform.default_kv_cache_bytes(config, left_bytes), _most_useful_bytes(config, groups))


def allocate_kv_caches(
    config: KVCacheConfig, backend: AttentionBackend[Any], device: torch.device
) -> list[tuple[torch.Tensor, ...]]:
    """Zeroed cache tensors of every layer, in the groups' order."""
    caches = []
    for group in config.groups:
        spec = group.spec
        shapes = backend.kv_cache_shapes(config.num_blocks, spec.block_size, spec.num_kv_heads, spec.head_size)
        dtype = getattr(torch, spec.dtype)
        caches += [tuple(_zeros(shape, dtype, device) for shape in shapes) for _ in group.layer_names]
    return caches


def _activation_bytes(platform: Platform, profile: Callable[[], None]) -> int:
    """What the largest step needs beyond what lies there already; 0 where the device cannot tell."""
    platform.synchronize()
    platform.reset_peak_memory()
    at_rest_bytes = platform.peak_memory_bytes()
    profile()
    platform.synchronize()
    peak_bytes = platform.peak_memory_bytes()
    return 0 if at_rest_bytes is None or peak_bytes is None else max(0, peak_bytes - at_rest_bytes)


def _most_useful_bytes(config: VllmConfig, groups: tuple[KVCacheGroup, ...]) -> int:
    """Every slot at full length, and the null block: more could not be used at once."""
    blocks_per_slot = -(-config.model_config.max_model_len // config.cache_config.block_size)
    num_blocks = config.scheduler_config.max_num_seqs * blocks_per_slot + 1
    return sum(num_blocks * group.bytes_per_block for group in groups)


def _zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """On the host torch.zeros writes every page; numpy asks the system for zero pages, which cost nothing until they are used."""
    if device.type != "cpu":
        return torch.zeros(shape, dtype=dtype, device=device)
    pages = np.zeros(math.prod(shape) * dtype.itemsize, np.uint8)
    return torch.from_numpy(pages).view(dtype).view(shape)
