"""Owns the vocabulary in which a family is written down: everything in which decoders differ, as data. No torch here."""

from __future__ import annotations

from dataclasses import dataclass

from vllm.model_executor.loader.rope_config import RopeConfig
from vllm.model_executor.routing import Routing

__all__ = ["DecoderSpec", "ExpertsSpec", "LayerSpec"]


@dataclass(frozen=True, kw_only=True)
class ExpertsSpec:
    """A mixture of gated MLPs in the place of one."""

    routing: Routing
    intermediate_size: int
    """Of each expert."""
    shared_intermediate_size: int | None = None
    """Of an MLP that every token takes besides, weighed by a sigmoid of its own score; None = there is none."""


@dataclass(frozen=True, kw_only=True)
class LayerSpec:
    """What may differ from layer to layer."""

    rope: RopeConfig | None
    """None: this layer knows no positions."""
    sliding_window: int | None = None
    """Tokens that a query sees, itself included; None = all before it."""
    experts: ExpertsSpec | None = None
    """None: this layer has one MLP, of the model's `intermediate_size`."""


@dataclass(frozen=True, kw_only=True)
class DecoderSpec:
    """One decoder-only model. Counts are of the whole model, before it is split over ranks."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_heads: int
    num_kv_heads: int
    head_size: int
    layers: tuple[LayerSpec, ...]

    norm_eps: float
    norm_op: str = "rms_norm"
    norm_before: bool = True
    """Attention and MLP read the normed residual stream."""
    norm_after: bool = False
    """What attention and MLP give is normed before it is added to the stream."""
    qk_norm: bool = False
    """Queries and keys are normed per head before they are turned."""

    qkv_bias: bool = False
    attention_out_bias: bool = False
    mlp_bias: bool = False
    activation_op: str = "silu_and_mul"
    rotary_interleaved: bool = False

    attention_scale: float
    attention_soft_cap: float | None = None
    logits_soft_cap: float | None = None
    tied_embeddings: bool = False
    embedding_scale: float = 1.0
    residual_scale: float = 1.0
    """Factor on what attention and MLP add to the stream."""
    logits_scale: float = 1.0
