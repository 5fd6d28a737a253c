"""Owns which files of a model's folder hold its weights. No torch here."""

from __future__ import annotations

import json
from pathlib import Path

from vllm.errors import ModelLoadError

__all__ = ["weight_files"]

_INDEX = "model.safetensors.index.json"
_SINGLE = "model.safetensors"
_OTHER_FORMATS = {
    ".bin": "PyTorch pickle (.bin)",
    ".pt": "PyTorch pickle (.pt)",
    ".pth": "PyTorch pickle (.pth)",
    ".gguf": "GGUF",
    ".h5": "TensorFlow",
    ".msgpack": "Flax",
}


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files to read: those of the index, else model.safetensors, else every *.safetensors.

    Raises:
        ModelLoadError: no folder, no such files, or an index that names files that are missing or lie elsewhere.
    """
    if not folder.is_dir():
        raise ModelLoadError(f"There is no model folder {folder}.", remedy="check the path, or use --load-format dummy")
    if (folder / _INDEX).is_file():
        return _indexed_files(folder)
    if (folder / _SINGLE).is_file():
        return [folder / _SINGLE]
    # Files only: opening a pipe would wait for ever.
    found = sorted(path for path in folder.glob("*.safetensors") if path.is_file())
    if not found:
        raise _no_safetensors(folder)
    return found


def _indexed_files(folder: Path) -> list[Path]:
    index = folder / _INDEX
    try:
        weight_map = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        names = sorted(set(weight_map.values()))
        elsewhere = [name for name in names if Path(name).is_absolute() or ".." in Path(name).parts]
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        what = f"{index} is no index of safetensors files: {type(error).__name__}: {error}."
        raise ModelLoadError(what, cause="an incomplete download", remedy="fetch the file again") from error
    if elsewhere:
        what = f"{index} names files outside its own folder: {', '.join(elsewhere[:8])}."
        raise ModelLoadError(
            what, cause="an index written by hand, or one that means harm", remedy="name files beside the index"
        )
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        what = f"{index} names {len(names)} files, of which {len(missing)} are not there: {', '.join(missing[:8])}."
        raise ModelLoadError(what, cause="an incomplete download", remedy="fetch the missing files")
    return [folder / name for name in names]


def _no_safetensors(folder: Path) -> ModelLoadError:
    others = sorted({_OTHER_FORMATS[path.suffix] for path in folder.iterdir() if path.suffix in _OTHER_FORMATS})
    what = f"The model folder {folder} holds no *.safetensors file."
    if not others:
        return ModelLoadError(what, remedy="fetch the weights, or use --load-format dummy to run without")
    what += f" It holds weights as {', '.join(others)}."
    remedy = (
        "fetch the safetensors files of the model, or convert it: load it with Transformers and call save_pretrained"
    )
    return ModelLoadError(what, cause="only safetensors is read: it is mapped and cannot run code", remedy=remedy)
