"""Owns the choice of shapes: which batch sizes and context lengths are compiled, and what a decode step costs besides its context.

More buckets waste less and take longer to compile; `benchmarks/spyre_padding.py` shows what the choice below costs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vllm.platforms.constraints import SchedulingConstraints
from vllm_spyre.settings import BLOCK_TOKENS

if TYPE_CHECKING:
    from vllm.config import VllmConfig
    from vllm_spyre.settings import Settings

__all__ = ["batch_buckets", "constraints", "context_buckets", "step_cost_tokens"]

SHORTEST_CONTEXT_TOKENS = 256


def constraints(config: VllmConfig, settings: Settings) -> SchedulingConstraints:
    """What the card asks of the scheduler and the batch builder."""
    model_len = min(config.model_config.max_model_len, settings.max_context_tokens)
    chunk_tokens = min(settings.chunk_tokens, -(-model_len // BLOCK_TOKENS) * BLOCK_TOKENS)
    most_rows = min(settings.most_rows, config.scheduler_config.max_num_seqs)
    return SchedulingConstraints(
        block_size_multiple=BLOCK_TOKENS,
        default_block_size=BLOCK_TOKENS,
        max_concurrent_prefills=1,
        prefill_chunk_tokens=chunk_tokens,
        mixes_prefill_and_decode=False,
        decode_steps_between_prefills=settings.interleave_steps,
        decode_batch_buckets=batch_buckets(most_rows, settings.batch_sizes),
        token_buckets=(*(size for size in settings.chunk_lens or () if size < chunk_tokens), chunk_tokens),
        context_buckets=context_buckets(model_len, chunk_tokens, settings.max_context_tokens, settings.context_lens),
        padding_side="left",
        max_batch_context_tokens=settings.max_batch_context_tokens,
        decode_step_cost_tokens=step_cost_tokens(config.model_config.hf_config) if settings.groups_decodes else None,
        max_model_len=settings.max_context_tokens,
    )


def batch_buckets(most_rows: int, given: tuple[int, ...] | None = None) -> tuple[int, ...]:
    """Powers of two, and the largest batch itself; or the given sizes as far as they are needed."""
    sizes = given or tuple(2**power for power in range(most_rows.bit_length()))
    return (*(size for size in sizes if size < most_rows), most_rows)


def context_buckets(
    model_len: int, chunk_tokens: int, most_tokens: int, given: tuple[int, ...] | None = None
) -> tuple[int, ...]:
    """Doubling from a short context, or the given ones, with the chunk's length among them, up to the first that holds `model_len`.

    They depend on `model_len` only in where they end: an engine that cuts its context to the cache keeps its shapes. None is above
    `most_tokens`, the card's longest context, which holds `model_len`.
    """
    sizes = given or tuple(SHORTEST_CONTEXT_TOKENS * 2**power for power in range(32))
    ascending = sorted({chunk_tokens, most_tokens, *sizes})
    shorter = [size for size in ascending if size < model_len]
    return (*shorter, next(size for size in ascending if size >= model_len))


def step_cost_tokens(hf_config: Mapping[str, Any]) -> int:
    """Reading the weights once, in tokens of context: parameters of a layer / values of a token in a layer's cache."""
    hidden = int(hf_config.get("hidden_size") or 0)
    heads = int(hf_config.get("num_attention_heads") or 1)
    kv_heads = int(hf_config.get("num_key_value_heads") or heads)
    head_size = int(hf_config.get("head_dim") or hidden // heads)
    inner = int(hf_config.get("intermediate_size") or 4 * hidden)
    parameters = hidden * head_size * 2 * (heads + kv_heads) + 3 * hidden * inner
    return max(1, parameters // (2 * kv_heads * head_size))
