"""Owns the model with experts of the generation laws: the embedded model, of which every expert is the whole MLP in another order.

Each expert's inner rows are permuted, in both of its matrices alike. Whichever experts a token takes, shares that sum to one then give what
the one MLP gives, so that the embedded model is the reference; matrices of two experts that meet give noise.

Legend: E experts, X hidden size, I intermediate size.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from vllm.testing.reference_model import TINY

__all__ = ["write_expert_model"]

_NUM_EXPERTS = 4
_MATRICES = {"gate_proj": "w1", "up_proj": "w3", "down_proj": "w2"}
_MLP = re.compile(r"(model\.layers\.\d+)\.mlp\.(gate_proj|up_proj|down_proj)\.weight")


def write_expert_model(folder: Path) -> None:
    """A Mixtral checkpoint; each token takes two of its experts, as a random router says."""
    config = json.loads((TINY / "config.json").read_text())
    mixture = {"num_local_experts": _NUM_EXPERTS, "num_experts_per_tok": 2, "sliding_window": None}
    names = {"architectures": ["MixtralForCausalLM"], "model_type": "mixtral"}
    (folder / "config.json").write_text(json.dumps({**config, **mixture, **names}))
    tensors: dict[str, torch.Tensor] = {}
    for name, weight in load_file(TINY / "model.safetensors").items():
        tensors.update(_experts(name, weight) if _MLP.fullmatch(name) else {name: weight})
    generator = torch.Generator().manual_seed(0)
    for layer in range(config["num_hidden_layers"]):
        router_EX = torch.randn(_NUM_EXPERTS, config["hidden_size"], generator=generator)
        tensors[f"model.layers.{layer}.block_sparse_moe.gate.weight"] = router_EX
    save_file(tensors, folder / "model.safetensors")


def _experts(name: str, weight: torch.Tensor) -> dict[str, torch.Tensor]:
    """One matrix of the MLP as every expert has it."""
    layer, matrix = _MLP.fullmatch(name).groups()  # type: ignore[union-attr]  # the caller has matched it
    inner_axis = 1 if matrix == "down_proj" else 0
    orders = [
        torch.randperm(weight.shape[inner_axis], generator=torch.Generator().manual_seed(expert))
        for expert in range(_NUM_EXPERTS)
    ]
    return {
        f"{layer}.block_sparse_moe.experts.{expert}.{_MATRICES[matrix]}.weight": weight.index_select(
            inner_axis, order_I
        )
        for expert, order_I in enumerate(orders)
    }
