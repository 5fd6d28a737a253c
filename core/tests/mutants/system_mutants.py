"""The mutants that run something wrong: ranks, runners, workers, memory."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from core.tests.mutants.mutant import PARTS, Capturing, FourDevices, Mutant

if TYPE_CHECKING:
    from vllm.config import VllmConfig

# -- ranks


class ForgetsARank(Mutant):
    """all_reduce leaves rank 0 out."""

    caught_by = ("collectives.all_reduce", "generation.two_ranks_equal_one")
    communicator = "communicator_parts.ForgetsARank"


class ReadsTooEarly(Mutant):
    """all_reduce gives what its buffer holds before the new sum has arrived: the last one."""

    caught_by = ("collectives.collectives_in_a_row",)
    communicator = "communicator_parts.ReadsTooEarly"


class ReducesMemoryOrder(Mutant):
    """all_reduce takes a view for the memory below it: columns become rows."""

    caught_by = ("collectives.all_reduce",)
    communicator = "communicator_parts.ReducesMemoryOrder"


class GathersMemoryOrder(Mutant):
    """all_gather takes a view for the memory below it."""

    caught_by = ("collectives.all_gather",)
    communicator = "communicator_parts.GathersMemoryOrder"


class AsksOneNeighbour(Mutant, FourDevices):
    """all_reduce adds one other rank's tensor, which is all of them among two."""

    caught_by = ("collectives.four_ranks",)
    sound = FourDevices
    communicator = "communicator_parts.AsksOneNeighbour"


class BackwardGather(Mutant):
    """all_gather concatenates from the last rank to the first."""

    caught_by = ("collectives.all_gather",)
    communicator = "communicator_parts.BackwardGather"


class GathersLastDimension(Mutant):
    """all_gather concatenates along the last dimension, whatever is asked for."""

    caught_by = ("collectives.all_gather",)
    communicator = "communicator_parts.GathersLastDimension"


class OthersShare(Mutant):
    """reduce_scatter gives each rank the other's share."""

    caught_by = ("collectives.reduce_scatter",)
    communicator = "communicator_parts.OthersShare"


class AlwaysFromZero(Mutant):
    """broadcast sends rank 0's tensor, whoever is named."""

    caught_by = ("collectives.broadcast",)
    communicator = "communicator_parts.AlwaysFromZero"


class ReceivesHalf(Mutant):
    """recv gives 16-bit tensors."""

    caught_by = ("collectives.send_and_recv",)
    communicator = "communicator_parts.ReceivesHalf"


# -- runner and worker


class NeighboursLastToken(Mutant):
    """Each slot goes on from the last token of another."""

    caught_by = ("generation.batched_equals_alone",)
    runner = "runner_parts.NeighboursLastToken"


class StaleTable(Mutant):
    """A slot that is used again keeps the block table of the request before."""

    caught_by = ("generation.used_blocks_change_nothing", "generation.preempted_equals_uninterrupted")
    runner = "runner_parts.StaleTable"


class StaleTokens(Mutant):
    """A request that was preempted comes back without the tokens it had generated."""

    caught_by = ("generation.preempted_equals_uninterrupted",)
    runner = "runner_parts.StaleTokens"


class ClearsCacheHits(Mutant):
    """Blocks that come from the prefix cache are cleared like fresh ones."""

    caught_by = ("generation.cache_hit_equals_miss",)
    runner = "runner_parts.ClearsCacheHits"


class FirstTokensLogits(Mutant):
    """A prompt's first token decides what comes after it, not its last."""

    caught_by = ("generation.equals_dense_reference",)
    runner = "runner_parts.FirstTokensLogits"


class GenerousWorker(Mutant):
    """All the device's memory is said to be left for the cache."""

    caught_by = ("memory.profiling_finds_what_is_left",)
    worker = "runner_parts.GenerousWorker"


class StingyWorker(Mutant):
    """A tenth of what is left for the cache is said to be left."""

    caught_by = ("memory.profiling_finds_what_is_left",)
    worker = "runner_parts.StingyWorker"


class EmptyHandedWorker(Mutant):
    """Nothing is said to be left for the cache."""

    caught_by = ("memory.profiling_finds_what_is_left",)
    worker = "runner_parts.EmptyHandedWorker"


class CheapBlocksWorker(Mutant):
    """A block is said to cost half of what it costs."""

    caught_by = ("memory.kv_cache_costs_what_it_says",)
    worker = "runner_parts.CheapBlocksWorker"


class StaleIds(Mutant, Capturing):
    """A captured step is replayed with the token ids of its first replay."""

    caught_by = ("generation.captured_equals_eager",)
    sound = Capturing

    def get_captured_forward_cls(self) -> str | None:
        return PARTS + "runner_parts.StaleIds"


class StaleLengths(Mutant, Capturing):
    """A captured step is replayed with the lengths and blocks of its first replay."""

    caught_by = ("generation.captured_equals_eager",)
    sound = Capturing

    def get_captured_forward_cls(self) -> str | None:
        return PARTS + "runner_parts.StaleLengths"


# -- memory


class Kibibytes(Mutant):
    """Memory is counted in KiB."""

    caught_by = ("memory.an_allocation_is_seen",)

    def memory_info(self, device_id: int = 0) -> tuple[int, int]:
        free, total = super().memory_info(device_id)
        return free // 1024, total // 1024


class FreeAndTotalSwapped(Mutant):
    """memory_info gives (total, free)."""

    caught_by = ("memory.memory_info_is_plausible",)

    def memory_info(self, device_id: int = 0) -> tuple[int, int]:
        free, total = super().memory_info(device_id)
        return total, free


class ForgetfulPeak(Mutant):
    """The peak is what is allocated now."""

    caught_by = ("memory.the_peak_is_a_peak",)

    def peak_memory_bytes(self) -> int | None:
        import psutil

        rss: int = psutil.Process().memory_info().rss
        return rss


class GreedyCache(Mutant):
    """The default cache takes more than there is."""

    caught_by = ("memory.default_cache_size",)

    def default_kv_cache_bytes(self, config: VllmConfig, available_bytes: int) -> int:
        return available_bytes + 2**20


class DoublesTheBudget(Mutant):
    """The user's cache size is doubled behind their back."""

    caught_by = ("memory.the_cache_keeps_to_its_budget",)

    def check_and_update_config(self, config: VllmConfig) -> VllmConfig:
        wanted = config.cache_config.kv_cache_memory_bytes
        cache = dataclasses.replace(config.cache_config, kv_cache_memory_bytes=wanted and 2 * wanted)
        return dataclasses.replace(config, cache_config=cache)
