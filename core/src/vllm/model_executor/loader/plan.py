"""Owns the plan of a load: which checkpoint tensor goes where, and every way in which checkpoint and model may not fit together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from vllm.errors import ModelLoadError, near_names
from vllm.model_executor.layers.weights import Placement, WeightLoader, weight_loaders
from vllm.model_executor.models.interface import CausalLM

__all__ = ["CopyStep", "TensorHeader", "plan_copies"]

Shape = tuple[int, ...]
Target = tuple[str, str | None]  # parameter name, part of it

_PLAIN_DTYPES = ("F64", "F32", "F16", "BF16")
"""What may be converted to the model's dtype; anything else is a quantised checkpoint."""
_SHOWN = 8
"""Names listed in an error before it says how many more there are."""


@dataclass(frozen=True, slots=True)
class TensorHeader:
    """What a file's header says of one tensor."""

    shape: Shape
    dtype: str
    """As safetensors calls it: F32, BF16, I8, F8_E4M3, …"""


@dataclass(frozen=True, slots=True)
class CopyStep:
    """One tensor to copy."""

    name: str
    placement: Placement


def plan_copies(model: CausalLM, files: Mapping[Path, Mapping[str, TensorHeader]]) -> dict[Path, list[CopyStep]]:
    """What to copy from each file, so that every parameter of `model` is filled exactly once.

    Args:
        files: for each file its tensors by name.

    Raises:
        ModelLoadError: tensors that are missing, unexpected, given twice, of another shape or of a kind that cannot be converted.
    """
    loaders = weight_loaders(model)
    sources = _sources(model, files)
    _check_names(model, loaders, sources)
    steps: dict[Path, list[CopyStep]] = {path: [] for path in files}
    for (parameter, part), (path, name) in sources.items():
        placement = loaders[parameter].place(part)
        _check_shape(name, path, files[path][name].shape, placement.checkpoint_shape)
        _check_dtype(name, path, files[path][name].dtype, placement)
        steps[path].append(CopyStep(name, placement))
    return steps


def _sources(model: CausalLM, files: Mapping[Path, Mapping[str, TensorHeader]]) -> dict[Target, tuple[Path, str]]:
    """For each target that the checkpoint names, whether or not the model has it, the tensor that goes there."""
    sources: dict[Target, tuple[Path, str]] = {}
    for path, headers in files.items():
        for name in headers:
            if model.ignores_tensor(name):
                continue
            target = model.checkpoint_names.parameter(name)
            if target in sources:
                raise _twice(name, path, *sources[target])
            sources[target] = (path, name)
    return sources


def _check_names(
    model: CausalLM, loaders: Mapping[str, WeightLoader], sources: Mapping[Target, tuple[Path, str]]
) -> None:
    wanted = {(parameter, part) for parameter, loader in loaders.items() for part in loader.parts}
    missing = [model.checkpoint_names.describe(*target) for target in wanted - sources.keys()]
    unexpected = [sources[target][1] for target in sources.keys() - wanted]
    if missing:
        raise _missing(type(model).__name__, sorted(missing), unexpected)
    if unexpected:
        raise _unexpected(sorted(unexpected))


def _check_shape(name: str, path: Path, found: Shape, expected: Shape) -> None:
    if found != expected:
        raise ModelLoadError(
            f"The tensor {name} in {path} has the shape {found}; the model's config makes it {expected}.",
            cause="config.json and the weights do not belong together, or --hf-overrides changed a size",
            remedy="use the config.json that came with the weights",
        )


def _check_dtype(name: str, path: Path, found: str, placement: Placement) -> None:
    if placement.target.dtype is torch.int8 and found != "I8":
        raise ModelLoadError(
            f"The tensor {name} in {path} is stored as {found}; the checkpoint's quantization_config makes it int8.",
            cause="the weights were saved before they were compressed",
            remedy="save the quantised model compressed (quantization_status: compressed), or leave out quantization_config",
        )
    if placement.target.is_floating_point() and placement.target.element_size() > 1 and found not in _PLAIN_DTYPES:
        raise ModelLoadError(
            f"The tensor {name} in {path} is stored as {found}; the model needs {str(placement.target.dtype)[6:]}.",
            cause="a quantised checkpoint whose config.json has no quantization_config",
            remedy="use a checkpoint without quantisation, or name its method with --quantization",
        )


def _twice(name: str, path: Path, earlier_path: Path, earlier: str) -> ModelLoadError:
    return ModelLoadError(
        f"The checkpoint gives the same weights twice: {earlier} in {earlier_path} and {name} in {path}.",
        cause="files of two checkpoints in one folder",
        remedy="keep the files of one checkpoint, or name them in model.safetensors.index.json",
    )


def _missing(model_name: str, missing: list[str], unexpected: list[str]) -> ModelLoadError:
    cause = "a shard of the checkpoint is missing, or config.json belongs to a larger model"
    remedy = "fetch all files of the checkpoint, and the config.json that came with them"
    if missing == ["lm_head.weight"]:
        cause = "the output head shares the table of the embedding, but config.json does not say so"
        remedy = """--hf-overrides '{"tie_word_embeddings": true}'"""
    what = f"The checkpoint lacks {len(missing)} tensors that {model_name} needs: {_listed(missing)}."
    close = dict.fromkeys(name for wanted in missing[:_SHOWN] for name in near_names(wanted, unexpected, limit=1))
    return ModelLoadError(what, cause=cause, remedy=remedy, candidates=close)


def _unexpected(names: list[str]) -> ModelLoadError:
    return ModelLoadError(
        f"The checkpoint holds {len(names)} tensors that the model has no place for: {_listed(names)}.",
        cause="config.json and the weights do not belong together, or another architecture was named",
        remedy="use the config.json that came with the weights",
    )


def _listed(names: Iterable[str]) -> str:
    shown = list(names)
    more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    return ", ".join(shown[:_SHOWN]) + more
