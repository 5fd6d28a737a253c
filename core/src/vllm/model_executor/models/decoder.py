"""Owns the one decoder that every family of the core is: a stack of attention and MLP, shaped by a DecoderSpec.

The stream of hidden states is carried as two tensors, what the last block gave and the residual before it, so that their addition and the
next norm are one op. Legend: T tokens, N rows that want logits, X hidden size, H query heads, K key/value heads, D head size (this rank).
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from vllm.attention.layer import Attention
from vllm.model_executor.layers.linear import QKVParallelLinear, RowParallelLinear
from vllm.model_executor.layers.rotary import RotaryTable
from vllm.model_executor.layers.vocab import ParallelLMHead, VocabParallelEmbedding
from vllm.model_executor.loader.rope_config import RopeConfig
from vllm.model_executor.models.interface import CausalLM, KVCaches
from vllm.model_executor.models.mlp import GatedMLP, MixtureOfExperts
from vllm.model_executor.models.spec import DecoderSpec, LayerSpec

if TYPE_CHECKING:
    from vllm.model_executor.context import ModelContext

__all__ = ["Decoder", "DecoderLayer", "SelfAttention"]

CosSin = tuple[torch.Tensor, torch.Tensor]


class SelfAttention(nn.Module):
    """Project, turn, attend, project back."""

    def __init__(self, ctx: ModelContext, spec: DecoderSpec, layer: LayerSpec, name: str) -> None:
        super().__init__()
        self.qkv_proj = QKVParallelLinear(
            ctx, f"{name}.qkv_proj", spec.hidden_size, num_heads=spec.num_heads, num_kv_heads=spec.num_kv_heads,
            head_size=spec.head_size, bias=spec.qkv_bias,
        )  # fmt: skip
        self.o_proj = RowParallelLinear(
            ctx, f"{name}.o_proj", spec.num_heads * spec.head_size, spec.hidden_size, bias=spec.attention_out_bias
        )
        self.q_norm = _norm(ctx, spec, spec.head_size) if spec.qk_norm else None
        self.k_norm = _norm(ctx, spec, spec.head_size) if spec.qk_norm else None
        self.rotary = ctx.ops.create("rotary_embedding", interleaved=spec.rotary_interleaved)
        self.head_counts = (self.qkv_proj.num_heads, self.qkv_proj.num_kv_heads, self.qkv_proj.num_kv_heads)
        self.head_size = spec.head_size
        self.attention = Attention(
            ctx, f"{name}.attention", num_heads=self.qkv_proj.num_heads, num_kv_heads=self.qkv_proj.num_kv_heads,
            head_size=spec.head_size, scale=spec.attention_scale, sliding_window=layer.sliding_window,
            logits_soft_cap=spec.attention_soft_cap,
        )  # fmt: skip

    def forward(
        self, hidden_TX: torch.Tensor, cos_sin: CosSin | None, kv_cache: tuple[torch.Tensor, ...], metadata: Any
    ) -> torch.Tensor:
        heads_TGD = self.qkv_proj(hidden_TX).unflatten(-1, (-1, self.head_size))
        q_THD, k_TKD, v_TKD = self._prepare(heads_TGD, cos_sin)
        out_THD = self.attention(q_THD, k_TKD, v_TKD, kv_cache, metadata)
        return self.o_proj(out_THD.flatten(-2))

    def _prepare(self, heads_TGD: torch.Tensor, cos_sin: CosSin | None) -> tuple[torch.Tensor, ...]:
        """Queries and keys normed and turned; together, where the norm does not tell them apart."""
        num_q, num_k, num_v = self.head_counts
        if self.q_norm is not None and self.k_norm is not None:
            q_THD, k_TKD, v_TKD = heads_TGD.split(self.head_counts, dim=-2)
            q_THD, k_TKD = self.q_norm(q_THD), self.k_norm(k_TKD)
            if cos_sin is not None:
                q_THD, k_TKD = self.rotary(q_THD, *cos_sin), self.rotary(k_TKD, *cos_sin)
            return q_THD, k_TKD, v_TKD
        if cos_sin is None:
            return heads_TGD.split(self.head_counts, dim=-2)
        both_TGD, v_TKD = heads_TGD.split((num_q + num_k, num_v), dim=-2)
        q_THD, k_TKD = self.rotary(both_TGD, *cos_sin).split((num_q, num_k), dim=-2)
        return q_THD, k_TKD, v_TKD


class AddOnly(nn.Module):
    """Stands where a family has no norm: the residual addition alone, called like a norm."""

    def forward(
        self, x_TX: torch.Tensor, residual_TX: torch.Tensor | None = None
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        if residual_TX is None:
            return x_TX
        sum_TX = x_TX + residual_TX
        return sum_TX, sum_TX


class DecoderLayer(nn.Module):
    """Attention and MLP with the norms around them."""

    def __init__(self, ctx: ModelContext, spec: DecoderSpec, layer: LayerSpec, name: str) -> None:
        super().__init__()
        self.attn_norm = _norm(ctx, spec, spec.hidden_size) if spec.norm_before else AddOnly()
        self.self_attn = SelfAttention(ctx, spec, layer, f"{name}.self_attn")
        self.attn_out_norm = _norm(ctx, spec, spec.hidden_size) if spec.norm_after else nn.Identity()
        self.mlp_norm = _norm(ctx, spec, spec.hidden_size) if spec.norm_before else AddOnly()
        self.mlp = _mlp(ctx, spec, layer, f"{name}.mlp")
        self.mlp_out_norm = _norm(ctx, spec, spec.hidden_size) if spec.norm_after else nn.Identity()
        self.residual_scale = spec.residual_scale

    def forward(
        self,
        given_TX: torch.Tensor,
        residual_TX: torch.Tensor | None,
        cos_sin: CosSin | None,
        kv_cache: tuple[torch.Tensor, ...],
        metadata: Any,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(what the MLP gave, the stream before it), from the same pair of the last layer; the first layer has no residual."""
        if residual_TX is None:
            hidden_TX, residual_TX = self.attn_norm(given_TX), given_TX
        else:
            hidden_TX, residual_TX = self.attn_norm(given_TX, residual_TX)
        given_TX = self._scaled(self.attn_out_norm(self.self_attn(hidden_TX, cos_sin, kv_cache, metadata)))
        hidden_TX, residual_TX = self.mlp_norm(given_TX, residual_TX)
        return self._scaled(self.mlp_out_norm(self.mlp(hidden_TX))), residual_TX

    def _scaled(self, given_TX: torch.Tensor) -> torch.Tensor:
        return given_TX if self.residual_scale == 1.0 else given_TX * self.residual_scale


class Decoder(CausalLM):
    """Embedding, layers, final norm, output head. A family says by `make_spec` what it is, and by `checkpoint_names` how it is stored."""

    @classmethod
    @abc.abstractmethod
    def make_spec(cls, hf_config: Mapping[str, Any]) -> DecoderSpec:
        """The family's reading of a checkpoint's config.

        Raises:
            ConfigError: keys are missing or contradict each other.
        """

    def __init__(self, ctx: ModelContext) -> None:
        super().__init__(ctx)
        model_config = ctx.config.model_config
        spec = self.make_spec(model_config.hf_config)
        self.spec = spec
        self.embedding_scale = float(torch.tensor(spec.embedding_scale, dtype=ctx.dtype))  # as precise as Transformers'
        self.embed_tokens = VocabParallelEmbedding(ctx, spec.vocab_size, spec.hidden_size)
        layers = [DecoderLayer(ctx, spec, layer, f"layers.{i}") for i, layer in enumerate(spec.layers)]
        self.layers = nn.ModuleList(layers)
        self.norm = _norm(ctx, spec, spec.hidden_size)
        tied_to = self.embed_tokens if spec.tied_embeddings else None
        self.lm_head = ParallelLMHead(ctx, spec.vocab_size, spec.hidden_size, tied_to=tied_to)
        self.attention_layers = [layer.self_attn.attention for layer in layers]
        self.rotary_tables, self.rotary_index = _rotary_tables(ctx, spec)

    def forward(
        self, input_ids_T: torch.Tensor, positions_T: torch.Tensor, kv_caches: KVCaches, metadata: Any
    ) -> torch.Tensor:
        given_TX, residual_TX = self._embed(input_ids_T), None
        angles = [table(positions_T) for table in self.rotary_tables]
        for i, layer in enumerate(self.layers):
            which = self.rotary_index[i]
            cos_sin = None if which is None else angles[which]
            kv_cache = () if metadata is None else kv_caches[i]
            given_TX, residual_TX = layer(given_TX, residual_TX, cos_sin, kv_cache, metadata)
        hidden_TX, _ = self.norm(given_TX, residual_TX)
        return hidden_TX

    def compute_logits(self, hidden_NX: torch.Tensor) -> torch.Tensor:
        logits_NV = self.lm_head(hidden_NX)
        if self.spec.logits_scale != 1.0:
            logits_NV = logits_NV * self.spec.logits_scale
        cap = self.spec.logits_soft_cap
        return logits_NV if cap is None else cap * torch.tanh(logits_NV / cap)

    def ignores_tensor(self, name: str) -> bool:
        """A table of the output head is not needed where the embedding's is shared; some checkpoints hold it all the same."""
        return super().ignores_tensor(name) or (self.spec.tied_embeddings and name.startswith("lm_head."))

    def _embed(self, input_ids_T: torch.Tensor) -> torch.Tensor:
        embedded_TX = self.embed_tokens(input_ids_T)
        return embedded_TX if self.embedding_scale == 1.0 else embedded_TX * self.embedding_scale


def _norm(ctx: ModelContext, spec: DecoderSpec, size: int) -> nn.Module:
    norm: nn.Module = ctx.ops.create(spec.norm_op, size, spec.norm_eps, dtype=ctx.dtype, device=ctx.device)
    return norm


def _mlp(ctx: ModelContext, spec: DecoderSpec, layer: LayerSpec, name: str) -> nn.Module:
    if layer.experts is None:
        return GatedMLP(ctx, spec, name)
    return MixtureOfExperts(ctx, spec, layer.experts, name)


def _rotary_tables(ctx: ModelContext, spec: DecoderSpec) -> tuple[nn.ModuleList, tuple[int | None, ...]]:
    """One table per different rotation, and for each layer the index of its own."""
    kinds: list[RopeConfig] = []
    for layer in spec.layers:
        if layer.rope is not None and layer.rope not in kinds:
            kinds.append(layer.rope)
    op = ctx.ops.create("rotary_embedding", interleaved=spec.rotary_interleaved)
    tables = nn.ModuleList(
        RotaryTable(
            rope,
            op,
            head_size=spec.head_size,
            max_model_len=ctx.config.model_config.max_model_len,
            dtype=ctx.dtype,
            device=ctx.device,
        )
        for rope in kinds
    )
    return tables, tuple(None if layer.rope is None else kinds.index(layer.rope) for layer in spec.layers)
