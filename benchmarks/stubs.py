"""Owns a model and a sampler that do nothing, so that what is left of a step is the engine's own work, with nothing else in the caches."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from vllm.sampling.step import SamplerOutput

__all__ = ["StubModel", "StubSampler"]

TOKEN = 7


class StubModel(nn.Module):
    """The interface of a loaded model; answers are views of tensors made once."""

    def __init__(self, model: Any, max_tokens: int, max_rows: int) -> None:
        super().__init__()
        weight_VH = next(parameter for parameter in model.parameters() if parameter.dim() == 2)
        self.attention_layers = model.attention_layers
        self._hidden_TH = weight_VH.new_zeros(max_tokens, weight_VH.shape[1])
        self._logits_NV = weight_VH.new_zeros(max_rows, weight_VH.shape[0])

    def forward(self, input_ids_T: torch.Tensor, *_: Any) -> torch.Tensor:
        return self._hidden_TH[: len(input_ids_T)]

    def compute_logits(self, hidden_NH: torch.Tensor) -> torch.Tensor:
        return self._logits_NV[: len(hidden_NH)]


class StubSampler:
    """Every row takes the same token."""

    def __init__(self, max_rows: int) -> None:
        self._tokens_N = torch.full((max_rows,), TOKEN)

    def __call__(self, logits_NV: torch.Tensor, *_: Any) -> SamplerOutput:
        return SamplerOutput(tokens_N=self._tokens_N[: len(logits_NV)])
