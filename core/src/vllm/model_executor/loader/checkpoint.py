"""Owns loading safetensors into a model: everything is checked against the files' headers before the first weight is read.

Files are mapped, not read: of each tensor only this rank's stretch is copied, straight into its place in the fused parameter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from vllm.errors import ModelLoadError
from vllm.model_executor.loader.files import weight_files
from vllm.model_executor.loader.plan import CopyStep, TensorHeader, plan_copies
from vllm.model_executor.models.interface import CausalLM

__all__ = ["load_checkpoint"]

_BAR_FORMAT = "{desc}: {percentage:3.0f}% Completed | {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}]\n"


def load_checkpoint(model: CausalLM, folder: str | Path, *, use_tqdm: bool = False) -> None:
    """Fill every parameter of `model` from the *.safetensors files of `folder`, each exactly once.

    Raises:
        ModelLoadError: files missing or broken, or tensors that do not fit the model (then no parameter was touched); or values
            that the dtype cannot hold.
    """
    with _opened(weight_files(Path(folder))) as files:
        steps = plan_copies(model, {path: _headers(content) for path, content in files.items()})
        for path in _progress(list(files), use_tqdm):
            for step in steps[path]:
                _copy(files[path], path, step)


@contextmanager
def _opened(paths: Iterable[Path]) -> Iterator[dict[Path, Any]]:
    with ExitStack() as stack:
        yield {path: stack.enter_context(_open(path)) for path in paths}


def _open(path: Path) -> Any:
    try:
        return safe_open(path, framework="pt", device="cpu")
    except (SafetensorError, OSError) as error:
        raise ModelLoadError(
            f"{path} is no readable safetensors file ({path.stat().st_size} bytes): {error}.",
            cause="an incomplete download or copy, or a pointer file of git LFS in the place of the weights",
            remedy="fetch the file again and compare its size with the source's",
        ) from error


def _headers(content: Any) -> dict[str, TensorHeader]:
    slices = {name: content.get_slice(name) for name in content.keys()}  # noqa: SIM118 - the handle is no mapping
    return {name: TensorHeader(tuple(each.get_shape()), each.get_dtype()) for name, each in slices.items()}


def _progress(paths: list[Path], use_tqdm: bool) -> Iterable[Path]:
    if not use_tqdm:
        return paths
    from tqdm import tqdm

    return tqdm(paths, desc="Loading safetensors checkpoint shards", bar_format=_BAR_FORMAT)


def _copy(content: Any, path: Path, step: CopyStep) -> None:
    try:
        stretch = content.get_slice(step.name)[step.placement.source]
    except (SafetensorError, OSError) as error:
        what = f"{path}: reading the tensor {step.name} failed: {error}."
        raise ModelLoadError(what, cause="a damaged file", remedy="fetch the file again") from error
    step.placement.target.copy_(stretch)
    _check_narrowed(step.name, path, stretch, step.placement.target)


def _check_narrowed(name: str, path: Path, stretch: torch.Tensor, target: torch.Tensor) -> None:
    """float16 has the smallest range of all dtypes: a weight that does not fit becomes infinite, and every output NaN."""
    if target.dtype is not torch.float16 or stretch.dtype is torch.float16 or bool(target.isfinite().all()):
        return
    raise ModelLoadError(
        f"The tensor {name} in {path} holds {float(stretch.abs().max()):g}, which float16 cannot (largest: 65504).",
        cause=f"the checkpoint was made for {str(stretch.dtype)[6:]}",
        remedy="--dtype bfloat16 or float32",
    )
