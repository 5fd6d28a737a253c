"""How many bytes the KV cache gets, what it is made of, and what a user reads when memory runs out."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from core.tests.worker.driver import tiny_config
from core.tests.worker.host_platform import GIB, HostPlatform, MeasuringPlatform
from vllm.attention.backends.abstract import AttentionSpec
from vllm.errors import OutOfMemoryError, WorkerError
from vllm.testing.dense_attention import DenseAttention
from vllm.worker import kv_cache_memory
from vllm.worker.kv_cache_spec import KVCacheConfig, KVCacheGroup
from vllm.worker.memory_errors import memory_errors_explained

CONFIG = tiny_config()
BACKEND = DenseAttention(torch.device("cpu"))
HUGE = CONFIG.with_changes(model_config={"max_model_len": 10**6}, scheduler_config={"max_num_seqs": 1000})


def layer(name: str, heads: int = 2, window: int | None = None) -> SimpleNamespace:
    spec = AttentionSpec(num_heads=4, num_kv_heads=heads, head_size=8, scale=1.0, sliding_window=window)
    return SimpleNamespace(layer_name=name, spec=spec)


def groups() -> tuple[KVCacheGroup, ...]:
    return kv_cache_memory.kv_cache_groups(CONFIG, [layer("a"), layer("b")], BACKEND)


def test_a_block_counts_keys_and_values_of_every_layer() -> None:
    (group,) = groups()
    assert group.layer_names == ("a", "b")
    assert group.spec.bytes_per_block == 2 * 16 * 2 * 8 * 4  # keys and values x tokens x heads x size x fp32
    assert group.bytes_per_block == 2 * group.spec.bytes_per_block


def test_the_group_has_a_window_only_where_all_layers_have_it() -> None:
    def window(*layers: SimpleNamespace) -> int | None:
        return kv_cache_memory.kv_cache_groups(CONFIG, list(layers), BACKEND)[0].spec.sliding_window

    assert window(layer("a", window=7), layer("b", window=7)) == 7
    assert window(layer("a", window=7), layer("b")) is None


def test_layers_of_different_sizes_are_refused() -> None:
    with pytest.raises(WorkerError, match=r"different sizes.*\(1, 8\), \(2, 8\)"):
        kv_cache_memory.kv_cache_groups(CONFIG, [layer("a"), layer("b", heads=1)], BACKEND)


def test_the_users_bytes_are_taken_exactly_and_nothing_is_profiled() -> None:
    config = CONFIG.with_changes(cache_config={"kv_cache_memory_bytes": 12345})
    profiled: list[bool] = []
    available = kv_cache_memory.available_bytes(config, HostPlatform(), 0, groups(), lambda: profiled.append(True))
    assert (available, profiled) == (12345, [])


def test_the_cache_gets_what_utilisation_and_activations_leave() -> None:
    """10 GiB, 4 in use, 2 for activations: 0.9 x 10 - 4 - 2 = 3."""
    available = kv_cache_memory.available_bytes(HUGE, MeasuringPlatform(), 0, groups(), lambda: None)
    assert available == int(10 * GIB * 0.9) - 6 * GIB


def test_where_no_peak_is_known_only_what_lies_there_counts() -> None:
    available = kv_cache_memory.available_bytes(HUGE, HostPlatform(), 0, groups(), lambda: None)
    assert available == int(10 * GIB * 0.9) - 4 * GIB


def test_never_more_than_all_slots_at_full_length_can_use() -> None:
    """8 slots of 256 tokens are 16 blocks each; one more is the null block."""
    available = kv_cache_memory.available_bytes(CONFIG, HostPlatform(), 0, groups(), lambda: None)
    assert available == (8 * 16 + 1) * groups()[0].bytes_per_block


def test_the_cache_is_zeroed_shaped_by_the_backend_and_costs_nothing_until_it_is_used() -> None:
    psutil = pytest.importorskip("psutil")
    before = psutil.Process().memory_info().rss
    config = KVCacheConfig(num_blocks=100_000, block_size=16, groups=groups())  # 2 layers x 2 x 100 MiB
    caches = kv_cache_memory.allocate_kv_caches(config, BACKEND, torch.device("cpu"))
    assert psutil.Process().memory_info().rss - before < 50 * 2**20
    assert [[tuple(tensor.shape) for tensor in layer] for layer in caches] == [[(100_000, 16, 2, 8)] * 2] * 2
    assert sum(t.numel() * t.itemsize for layer in caches for t in layer) == 100_000 * groups()[0].bytes_per_block
    assert not caches[1][1][-1].any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_host_zeros_have_the_dtype_asked_for(dtype: torch.dtype) -> None:
    zeros = kv_cache_memory._zeros((3, 5), dtype, torch.device("cpu"))
    assert (zeros.dtype, tuple(zeros.shape), zeros.sum().item()) == (dtype, (3, 5), 0)
    zeros += 1


def test_running_out_of_memory_says_where_how_much_and_what_to_turn() -> None:
    with (
        pytest.raises(OutOfMemoryError, match=r"a step of 7 tokens: 6,144 of 10,240 MiB are free") as raised,
        memory_errors_explained(HostPlatform(), "a step of 7 tokens"),
    ):
        torch.empty(2**55, dtype=torch.uint8)
    assert all(flag in str(raised.value) for flag in ("--max-num-batched-tokens", "--kv-cache-memory-bytes"))


def test_other_errors_pass_unchanged() -> None:
    with pytest.raises(RuntimeError, match=r"^broken$"), memory_errors_explained(HostPlatform(), "a step"):
        raise RuntimeError("broken")
