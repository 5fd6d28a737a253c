"""Quantises what Transformers wrote, as a checkpoint in the format compressed-tensors, and what such a model should compute.

Legend: T tokens, I inputs, O outputs, V vocabulary.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import nn

from core.tests.models.checkpoints import Family, edit_config
from core.tests.quantised_configs import W8A8


def write_quantised(
    folder: Path, family: Family, *, keeps: str = r"lm_head$", settings: Mapping[str, Any] = W8A8
) -> transformers.PreTrainedModel:
    """Save a random model of the family with its linear layers in int8, and give back the model with the rounded weights.

    Args:
        keeps: pattern of the linear modules that are not quantised; `settings` should say the same.
    """
    model = family.write(folder)
    tensors = load_file(folder / "model.safetensors")
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and not re.search(keeps, name):
            weight_OI, scale_O1 = quantised(module.weight.detach())
            tensors[f"{name}.weight"], tensors[f"{name}.weight_scale"] = weight_OI, scale_O1
            module.weight.data = weight_OI * scale_O1.float()
    save_file(tensors, folder / "model.safetensors")
    edit_config(folder, quantization_config=dict(settings))
    return model


def quantised(weight_OI: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(int8 [O, I], scales bf16 [O, 1]), symmetric, one scale per row."""
    scale_O1 = (weight_OI.abs().amax(1, keepdim=True) / 127).bfloat16()
    return (weight_OI / scale_O1.float()).round().clamp(-127, 127).to(torch.int8), scale_O1


def with_quantised_activations(
    model: transformers.PreTrainedModel, *, ranks: int = 1, keeps: str = r"lm_head$"
) -> transformers.PreTrainedModel:
    """The same model, the inputs of its linear layers rounded token by token; those that are split over ranks, rank by rank."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and not re.search(keeps, name):
            stretches = ranks if re.search(r"(o_proj|down_proj)$", name) else 1
            module.register_forward_pre_hook(_rounding(stretches))
    return model


def _rounding(stretches: int) -> Any:
    def rounded(module: nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor]:
        del module
        return (torch.cat([_round(part) for part in args[0].chunk(stretches, -1)], -1),)

    return rounded


def _round(x_TI: torch.Tensor) -> torch.Tensor:
    step_T1 = x_TI.abs().amax(-1, keepdim=True) / 127
    return torch.where(step_T1 > 0, (x_TI / step_T1).round() * step_T1, 0.0)
