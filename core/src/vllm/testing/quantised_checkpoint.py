"""Owns a W8A8 checkpoint of the embedded model, in the format compressed-tensors, for the laws of quantised generation."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors.torch import load_file, save_file

from vllm.testing.reference_model import TINY

__all__ = ["w8a8_folder", "write_w8a8"]

_LARGEST = 127
_INT8 = {"num_bits": 8, "type": "int", "symmetric": True}


@contextmanager
def w8a8_folder() -> Iterator[Path]:
    """The checkpoint in a folder of its own, for as long as the context lasts."""
    with TemporaryDirectory() as folder:
        write_w8a8(Path(folder))
        yield Path(folder)


def write_w8a8(folder: Path) -> None:
    """Copy the embedded model into `folder`, its linear layers as int8 with one scale per output."""
    shutil.copytree(TINY, folder, dirs_exist_ok=True)
    tensors: dict[str, torch.Tensor] = {}
    for name, tensor in load_file(TINY / "model.safetensors").items():
        if name.endswith("_proj.weight"):
            tensors[name], tensors[f"{name}_scale"] = _quantised(tensor)
        else:
            tensors[name] = tensor
    save_file(tensors, folder / "model.safetensors")
    config = json.loads((TINY / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "quantization_config": _settings()}, indent=2))


def _quantised(weight_OI: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(int8 [O, I], fp32 [O, 1])."""
    scale_O1 = weight_OI.float().abs().amax(1, keepdim=True) / _LARGEST
    return (weight_OI.float() / scale_O1).round().to(torch.int8), scale_O1


def _settings() -> dict[str, object]:
    group = {
        "targets": ["Linear"],
        "weights": {**_INT8, "strategy": "channel", "dynamic": False},
        "input_activations": {**_INT8, "strategy": "token", "dynamic": True},
    }
    return {
        "quant_method": "compressed-tensors",
        "format": "int-quantized",
        "quantization_status": "compressed",
        "ignore": ["lm_head"],
        "config_groups": {"group_0": group},
    }
