"""Owns the generation laws' reference: the embedded model in dense fp32, straight from its weights and config, in one file.

It shares nothing with the engine: no paged cache, no fused layers, no named ops. One text in, log-probabilities of every position out.

Legend: T tokens, X hidden size, I inputs of a linear layer, H query heads, K key/value heads, D head size, F frequencies, V vocabulary.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch.nn.functional import silu

import vllm

__all__ = ["QuantisedReference", "ReferenceModel", "embedded_model"]

TINY = Path(vllm.__file__).parent / "assets" / "tiny"


@functools.cache
def embedded_model(dtype_name: str) -> ReferenceModel:
    """The model that comes with the package, its weights rounded to the dtype in which a platform would hold them."""
    return ReferenceModel(TINY, getattr(torch, dtype_name))


class ReferenceModel:
    """A Llama: RMS norms, rotary pairs (i, i + D/2), grouped queries, SwiGLU, tied embeddings."""

    def __init__(self, folder: Path, dtype: torch.dtype) -> None:
        self._config: dict[str, Any] = json.loads((folder / "config.json").read_text())
        tensors = load_file(folder / "model.safetensors")
        self._weights = {
            name: tensor.to(dtype).float() for name, tensor in tensors.items() if tensor.is_floating_point()
        }

    @torch.inference_mode()
    def log_probs(self, ids: Sequence[int]) -> torch.Tensor:
        """[T, V]: row t is about the token after position t."""
        hidden_TX = self._weights["model.embed_tokens.weight"][torch.tensor(list(ids))]
        for layer in range(self._config["num_hidden_layers"]):
            name = f"model.layers.{layer}"
            hidden_TX = hidden_TX + self._attention(name, self._norm(f"{name}.input_layernorm", hidden_TX))
            hidden_TX = hidden_TX + self._mlp(name, self._norm(f"{name}.post_attention_layernorm", hidden_TX))
        hidden_TX = self._norm("model.norm", hidden_TX)
        return (hidden_TX @ self._weights["model.embed_tokens.weight"].T).log_softmax(-1)

    def _norm(self, name: str, x_TX: torch.Tensor) -> torch.Tensor:
        mean_square_T1 = x_TX.square().mean(-1, keepdim=True)
        return x_TX / (mean_square_T1 + self._config["rms_norm_eps"]).sqrt() * self._weights[f"{name}.weight"]

    def _mlp(self, name: str, x_TX: torch.Tensor) -> torch.Tensor:
        gated_TI = silu(self._times(x_TX, f"{name}.mlp.gate_proj")) * self._times(x_TX, f"{name}.mlp.up_proj")
        return self._times(gated_TI, f"{name}.mlp.down_proj")

    def _times(self, x_TI: torch.Tensor, name: str) -> torch.Tensor:
        """A linear layer."""
        return x_TI @ self._weights[f"{name}.weight"].T

    def _attention(self, name: str, x_TX: torch.Tensor) -> torch.Tensor:
        head_size = self._config["head_dim"]
        q_THD, k_TKD, v_TKD = (
            self._times(x_TX, f"{name}.self_attn.{part}_proj").unflatten(-1, (-1, head_size)) for part in "qkv"
        )
        q_THD, k_TKD = self._rotate(q_THD), self._rotate(k_TKD)
        heads_per_kv = q_THD.shape[1] // k_TKD.shape[1]
        k_THD, v_THD = (part.repeat_interleave(heads_per_kv, dim=1) for part in (k_TKD, v_TKD))
        scores_HTT = torch.einsum("qhd,khd->hqk", q_THD, k_THD) / head_size**0.5
        later_TT = torch.ones(len(x_TX), len(x_TX), dtype=torch.bool).triu(1)
        weights_HTT = scores_HTT.masked_fill(later_TT, float("-inf")).softmax(-1)
        mixed_THD = torch.einsum("hqk,khd->qhd", weights_HTT, v_THD)
        return self._times(mixed_THD.flatten(1), f"{name}.self_attn.o_proj")

    def _rotate(self, x_THD: torch.Tensor) -> torch.Tensor:
        tokens, size = x_THD.shape[0], x_THD.shape[-1]
        theta = self._config["rope_parameters"]["rope_theta"]
        inv_freq_F = theta ** (-torch.arange(0, size, 2, dtype=torch.float32) / size)
        angle_T1F = (torch.arange(tokens, dtype=torch.float32)[:, None] * inv_freq_F)[:, None]
        first, second = x_THD.chunk(2, dim=-1)
        cos, sin = angle_T1F.cos(), angle_T1F.sin()
        return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


class QuantisedReference(ReferenceModel):
    """A W8A8 checkpoint: weights are whole numbers times their scales, and what a linear layer gets is rounded token by token."""

    def __init__(self, folder: Path, dtype: torch.dtype) -> None:
        super().__init__(folder, dtype)
        tensors = load_file(folder / "model.safetensors")
        for name, tensor in tensors.items():
            if tensor.dtype is torch.int8:
                self._weights[name] = tensor.float() * tensors[f"{name}_scale"].float()

    def _times(self, x_TI: torch.Tensor, name: str) -> torch.Tensor:
        step_T1 = x_TI.abs().amax(-1, keepdim=True) / 127
        return super()._times((x_TI / step_T1).round() * step_T1, name)
