"""The mutants of platforms with fixed shapes, padded on the left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.tests.mutants.mutant import PARTS, Mutant
from vllm.platforms import SchedulingConstraints
from vllm_cpu_ref.platform import CpuRefPlatform

if TYPE_CHECKING:
    from vllm.config import VllmConfig


class LeftPadded(CpuRefPlatform):
    """Sound: asks for left padding and fixed shapes, and reads past the padding."""

    def scheduling_constraints(self, config: VllmConfig) -> SchedulingConstraints:
        """Chunks of two blocks, contexts of 4, 8 or more blocks, at most 4 rows."""
        block = config.cache_config.block_size
        return SchedulingConstraints(
            max_concurrent_prefills=1,
            mixes_prefill_and_decode=False,
            prefill_chunk_tokens=2 * block,
            token_buckets=(2 * block,),
            context_buckets=(4 * block, 8 * block, 16 * block, 2048),
            decode_batch_buckets=(1, 2, 4),
            padding_side="left",
        )

    def get_attn_backend_cls(self) -> str:
        """The honest reader."""
        return PARTS + "attention_parts.ReadsPastThePadding"


class IgnoresLeftPadding(Mutant, LeftPadded):
    """Attention reads block tables from their first column, where the padding is."""

    caught_by = ("attention.left_padding", "generation.equals_dense_reference")
    sound = LeftPadded
    attention = "attention_parts.Misreading"


class PadsOneColumnTooMuch(Mutant, LeftPadded):
    """Attention takes the first column of every padded context for padding, too."""

    caught_by = ("attention.left_padding", "generation.equals_dense_reference")
    sound = LeftPadded
    attention = "attention_parts.PadsOneColumnTooMuch"


class BlocksThatFillNoBucket(Mutant, LeftPadded):
    """A context bucket is no multiple of the block."""

    caught_by = ("contract.constraints_are_consistent",)
    sound = LeftPadded

    def scheduling_constraints(self, config: VllmConfig) -> SchedulingConstraints:
        """A bucket of a block and a half."""
        import dataclasses

        fine = super().scheduling_constraints(config)
        return dataclasses.replace(
            fine, context_buckets=(config.cache_config.block_size * 3 // 2, *fine.context_buckets)
        )
