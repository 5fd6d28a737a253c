"""The mutants whose attention is wrong. Each names its backend and the laws that must fail."""

from __future__ import annotations

from core.tests.mutants.mutant import Mutant


class OwnScale(Mutant):
    """Attention divides by the root of the head size, whatever scale the layer has."""

    caught_by = ("attention.ragged_rows", "attention.layers_share_metadata")
    attention = "attention_parts.OwnScale"


class NoCap(Mutant):
    """The soft cap of the scores is ignored."""

    caught_by = ("attention.soft_cap",)
    attention = "attention_parts.NoCap"


class WideWindow(Mutant):
    """The sliding window sees one key too many."""

    caught_by = ("attention.sliding_window",)
    attention = "attention_parts.WideWindow"


class NarrowWindow(Mutant):
    """The sliding window sees one key too few."""

    caught_by = ("attention.sliding_window",)
    attention = "attention_parts.NarrowWindow"


class RaisesOnWindow(Mutant):
    """Sliding windows are declared full, and raise when they are asked for."""

    caught_by = ("attention.sliding_window",)
    attention = "attention_parts.RaisesOnWindow"


class FirstLayersSpec(Mutant):
    """All layers of a step are computed with the first one's scale and window."""

    caught_by = ("attention.layers_share_metadata",)
    attention = "attention_parts.FirstLayersSpec"


class MixedHeads(Mutant):
    """Query head h reads key/value head h % K instead of h // (H // K)."""

    caught_by = ("attention.head_layouts",)
    attention = "attention_parts.MixedHeads"


class LooksAhead(Mutant):
    """In chunks after the first, the causal bound is missing: queries see the whole chunk."""

    caught_by = ("attention.chunk_boundaries",)
    attention = "attention_parts.LooksAhead"


class ForgetsContext(Mutant):
    """A chunk sees itself and nothing of the chunks before it."""

    caught_by = ("attention.chunk_boundaries", "generation.chunked_equals_whole")
    attention = "attention_parts.ForgetsContext"


class SwappedBlocks(Mutant):
    """The first two blocks of every context are read in each other's place."""

    caught_by = ("attention.ragged_rows",)
    attention = "attention_parts.SwappedBlocks"


class NeighboursTable(Mutant):
    """Every row reads the block table of the row before it."""

    caught_by = ("attention.ragged_rows",)
    attention = "attention_parts.NeighboursTable"


class ConsecutiveBlocks(Mutant):
    """A context's blocks are taken to lie one after the other."""

    caught_by = ("attention.block_permutations",)
    attention = "attention_parts.ConsecutiveBlocks"


class WrappedRows(Mutant):
    """Only 32 block-table rows are kept: row 32 reads row 0's."""

    caught_by = ("attention.many_rows",)
    attention = "attention_parts.WrappedRows"


class WholeLastBlock(Mutant):
    """Decodes see the whole last block, its unwritten places too."""

    caught_by = ("attention.ragged_rows",)
    attention = "attention_parts.WholeLastBlock"


class WholeTable(Mutant):
    """Decodes see every column of the block table, stale ones too."""

    caught_by = ("attention.stale_block_ids",)
    attention = "attention_parts.WholeTable"


class StopsAt256(Mutant):
    """Tokens past the 256th of a step get no output."""

    caught_by = ("attention.long_contexts",)
    attention = "attention_parts.StopsAt256"


class KeysOneLate(Mutant):
    """Each key is written into the next token's place."""

    caught_by = ("attention.ragged_rows",)
    attention = "attention_parts.KeysOneLate"


class LosesLastValue(Mutant):
    """The value of a step's last token is not written."""

    caught_by = ("attention.one_key_gives_its_value_back",)
    attention = "attention_parts.LosesLastValue"


class SixteenBitCache(Mutant):
    """Keys and values are kept in 16 bits, whatever the cache's dtype is."""

    caught_by = ("attention.one_key_gives_its_value_back",)
    attention = "attention_parts.SixteenBitCache"


class WritesGroupByGroup(Mutant):
    """Rows of one group are read before another group's are written."""

    caught_by = ("attention.rows_share_blocks_of_the_same_step",)
    attention = "attention_parts.WritesGroupByGroup"


class PaddingInBlockOne(Mutant):
    """Padding is written into block 1 instead of the null block."""

    caught_by = ("attention.padding_tokens",)
    attention = "attention_parts.PaddingInBlockOne"


class TakesThemForContiguous(Mutant):
    """q, k and v are read as if they were contiguous."""

    caught_by = ("attention.strided_inputs",)
    attention = "attention_parts.TakesThemForContiguous"


class KeepsViews(Mutant):
    """The step's arrays are copied too late: after the runner has overwritten them."""

    caught_by = ("attention.ragged_rows",)
    attention = "attention_parts.KeepsViews"


class KeepsMetadata(Mutant):
    """Decode steps of as many rows get the lengths and blocks of the first such step."""

    caught_by = ("attention.decodes_go_on",)
    attention = "attention_parts.KeepsMetadata"


class ReusesOutput(Mutant):
    """All calls give the same output buffer, which the next call overwrites."""

    caught_by = ("attention.ragged_rows",)
    attention = "attention_parts.ReusesOutput"


class AsksATensor(Mutant):
    """`forward` asks a tensor for its value, which breaks the traced graph."""

    caught_by = ("attention.traces_whole",)
    attention = "attention_parts.AsksATensor"


class ClearsNothing(Mutant):
    """clear_blocks leaves what another request wrote, NaN included."""

    caught_by = ("attention.cleared_blocks_hide_what_was_there",)
    attention = "attention_parts.ClearsNothing"


class OneBlockMore(Mutant):
    """The cache tensors hold one block more than they are asked for."""

    caught_by = ("memory.kv_cache_costs_what_it_says",)
    attention = "attention_parts.OneBlockMore"


class NoFloat32(Mutant):
    """float32 is a supported dtype of the platform, but not of its attention."""

    caught_by = ("contract.the_dtype_works",)
    attention = "attention_parts.NoFloat32"
