"""Laws of memory: numbers in bytes, allocations that are seen, and a KV cache that costs what its accounting says."""

from __future__ import annotations

import math

import torch

from vllm.executor.worker_factory import create_worker
from vllm.platforms.capabilities import Feature
from vllm.testing.bench import Bench
from vllm.testing.engines import engine_config, open_engine
from vllm.testing.law import law
from vllm.worker.worker_base import WorkerBase

MIB = 2**20
LEAST_TOTAL_BYTES, MOST_TOTAL_BYTES = 64 * MIB, 64 * 2**40
"""A device has more than 64 MiB and less than 64 TiB: what says otherwise counts in other units."""
PROBE_BYTES = 256 * MIB
ATTEMPTS = 8
"""Other programs allocate and free too, and systems count late: the best attempt counts. What was allocated is held until then."""


@law(per_dtype=False)
def memory_info_is_plausible(bench: Bench) -> None:
    """memory_info gives (free, total) in bytes, 0 < free <= total, of a plausible size."""
    free, total = bench.platform.memory_info()
    for name, value in (("free", free), ("total", total)):
        bench.holds(type(value) is int, f"memory_info(): {name} is {value!r}, no int")
    bench.holds(0 < free <= total, f"memory_info() says {free} bytes are free of {total}")
    plausible = LEAST_TOTAL_BYTES <= total <= MOST_TOTAL_BYTES
    bench.holds(plausible, f"memory_info() says the device has {total} bytes in total: is that another unit?")


@law(per_dtype=False)
def an_allocation_is_seen(bench: Bench) -> None:
    """Allocating 256 MiB takes about as much from memory_info's free bytes, and adds it to peak_memory_bytes where that can tell."""
    errors: list[float] = []
    held: list[torch.Tensor] = []
    bench.platform.empty_cache()
    while len(held) < ATTEMPTS and min(errors, default=1.0) > 0.2:
        bench.platform.reset_peak_memory()
        before = _peak_and_free_bytes(bench)
        held.append(torch.ones(PROBE_BYTES // 4, dtype=torch.float32, device=bench.device))
        seen = _seen_bytes(before, _peak_and_free_bytes(bench))
        errors.append(max(abs(seen_bytes - PROBE_BYTES) for seen_bytes in seen) / PROBE_BYTES)
    hint = "memory_info (or peak_memory_bytes) counts other memory, or in other units"
    bench.within("size of a 256 MiB tensor as the platform sees it, relative", min(errors), 0.5, hint)


def _peak_and_free_bytes(bench: Bench) -> tuple[int | None, int]:
    bench.platform.synchronize()
    return bench.platform.peak_memory_bytes(), bench.platform.memory_info()[0]


def _seen_bytes(before: tuple[int | None, int], after: tuple[int | None, int]) -> list[int]:
    """What an allocation changed, by each measure that there is: the engine plans with both."""
    seen = [before[1] - after[1]]
    if before[0] is not None and after[0] is not None:
        seen.append(after[0] - before[0])
    return seen


@law(per_dtype=False)
def the_peak_is_a_peak(bench: Bench) -> None:
    """peak_memory_bytes, where the device can tell, keeps the most since reset_peak_memory; None always means None."""
    platform = bench.platform
    platform.reset_peak_memory()
    base = platform.peak_memory_bytes()
    tensor = torch.ones(16 * MIB, dtype=torch.float32, device=bench.device)
    platform.synchronize()
    del tensor
    peak = platform.peak_memory_bytes()
    bench.equal("peak_memory_bytes() is None", peak is None, base is None)
    if base is None or peak is None:
        bench.left_out.append("peak_memory_bytes() is None: this device does not tell")
        return
    bench.within("the peak of 64 MiB that are freed again, relative", abs(peak - base - 64 * MIB) / (64 * MIB), 0.25)
    platform.empty_cache()
    platform.reset_peak_memory()
    after = platform.peak_memory_bytes()
    bench.holds(after is not None and after < peak, f"the peak is still {after} bytes after reset_peak_memory()")


@law(per_dtype=False)
def default_cache_size(bench: Bench) -> None:
    """default_kv_cache_bytes takes some or all of what is available, never more."""
    config = bench.workplace.config()
    for available in (0, 64 * MIB, 2**30, 2**34):
        taken = bench.platform.default_kv_cache_bytes(config, available)
        bench.holds(
            type(taken) is int and 0 <= taken <= available,
            f"default_kv_cache_bytes of {available} available bytes is {taken!r}",
        )


@law()
def kv_cache_costs_what_it_says(bench: Bench) -> None:
    """blocks × bytes_per_block of every layer is what the backend's cache tensors take."""
    config = engine_config(bench.workplace, dtype=bench.dtype_name, max_num_seqs=2, max_num_batched_tokens=64)
    _ = bench.device
    worker = create_worker(config, rank=0, local_rank=0, init_method="")
    try:
        worker.init_device()
        worker.load_model()
        groups = worker.kv_cache_groups()
    finally:
        worker.shutdown()
    backend = bench.workplace.backend(bench.dtype_name)
    bench.equal(
        "block size of the cache", {group.spec.block_size for group in groups}, {config.cache_config.block_size}
    )
    for group in groups:
        spec = group.spec
        itemsize = getattr(torch, spec.dtype).itemsize
        for blocks in (1, 2, 7, 64):
            shapes = backend.kv_cache_shapes(blocks, spec.block_size, spec.num_kv_heads, spec.head_size)
            allocated = sum(math.prod(shape) for shape in shapes) * itemsize
            what = f"bytes of {blocks} blocks of {spec.block_size} tokens, {spec.num_kv_heads} heads of {spec.head_size} in {spec.dtype}"
            bench.equal(what, allocated, blocks * spec.bytes_per_block)
            least = 2 * blocks * spec.block_size * spec.num_kv_heads * spec.head_size * itemsize
            bench.holds(allocated >= least, f"{what}: {allocated}, but keys and values need {least}")
        bench.equal(
            "bytes per block of the group", group.bytes_per_block, spec.bytes_per_block * len(group.layer_names)
        )


@law(per_dtype=False)
def the_cache_keeps_to_its_budget(bench: Bench) -> None:
    """An engine given N bytes for its KV cache allocates as many blocks as N pays for, and no more."""
    budget = 24 * MIB
    options = {"dtype": bench.dtype_name, "max_num_seqs": 2, "max_num_batched_tokens": 64, "enforce_eager": True}
    with open_engine(bench.workplace, kv_cache_memory_bytes=budget, **options) as engine:
        config = engine.config
        (groups,) = engine.call(WorkerBase.kv_cache_groups)
    per_block = sum(group.bytes_per_block for group in groups)
    blocks = config.cache_config.num_blocks or 0
    bench.holds(
        blocks * per_block <= budget < (blocks + 1) * per_block,
        f"{blocks} blocks of {per_block} bytes take {blocks * per_block} of {budget} bytes",
    )


@law(per_dtype=False)
def profiling_finds_what_is_left(bench: Bench) -> None:
    """determine_available_memory gives what memory_utilization grants beyond what is in use, up to what can be useful, and no more."""
    errors: list[float] = []
    while len(errors) < ATTEMPTS and min(errors, default=1.0) > 0.2:
        granted, useful, available = _profiled_bytes(bench)
        errors.append(max((useful - available) / max(1, useful), (available - granted) / granted, 0.0))
    hint = (
        f"{available} bytes were found where {granted} were granted, of which {useful} are useful: "
        "other memory, or other units, or memory that is left unused"
    )
    bench.within("bytes for the cache, too few or too many, relative", min(errors), 0.5, hint)


def _profiled_bytes(bench: Bench) -> tuple[int, int, int]:
    """(granted beyond what is in use, what of it every slot at full length can use and the platform wants to take, found)."""
    bench.platform.empty_cache()
    free, total = bench.platform.memory_info()
    granted = min(PROBE_BYTES, free // 2)
    limits = {"max_num_seqs": 256, "max_num_batched_tokens": 256}
    config = engine_config(
        bench.workplace, dtype=bench.dtype_name, gpu_memory_utilization=(total - free + granted) / total, **limits
    )
    worker = create_worker(config, rank=0, local_rank=0, init_method="")
    try:
        worker.init_device()
        worker.load_model()
        available = worker.determine_available_memory()
        groups = worker.kv_cache_groups()
    finally:
        worker.shutdown()
    wanted = bench.platform.default_kv_cache_bytes(config, granted)
    if wanted < granted:
        bench.left_out.append(f"default_kv_cache_bytes takes {wanted} of {granted} bytes: more is not asked for")
    blocks = config.scheduler_config.max_num_seqs * -(-config.model_config.max_model_len // groups[0].spec.block_size)
    return granted, min(wanted, blocks * sum(group.bytes_per_block for group in groups)), available


@law(Feature.SLEEP_MODE, per_dtype=False)
def sleep_frees_the_cache(bench: Bench) -> None:
    """While an engine sleeps, memory_info's free bytes are more by its KV cache, and less again when it is awake."""
    options = {"dtype": bench.dtype_name, "max_num_seqs": 2, "max_num_batched_tokens": 64, "enforce_eager": True}
    freed: list[int] = []
    taken: list[int] = []
    with open_engine(bench.workplace, kv_cache_memory_bytes=PROBE_BYTES, enable_sleep_mode=True, **options) as engine:
        while len(freed) < ATTEMPTS and min(max(freed, default=0), max(taken, default=0)) < 0.8 * PROBE_BYTES:
            awake = _peak_and_free_bytes(bench)[1]
            engine.sleeps(1)
            asleep = _peak_and_free_bytes(bench)[1]
            engine.wake_up()
            freed.append(asleep - awake)
            taken.append(asleep - _peak_and_free_bytes(bench)[1])
    for what, seen in (("that sleep did not free", freed), ("that waking up did not take again", taken)):
        bench.within(f"share of a cache of 256 MiB {what}", max(0.0, 1 - max(seen) / PROBE_BYTES), 0.5)
