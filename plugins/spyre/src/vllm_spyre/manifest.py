"""Owns the list of what was compiled: a later start with the same engine finds it, and the backend's cache behind it.

The compiled code itself lies in the backend's own cache (inductor: `TORCHINDUCTOR_CACHE_DIR`); this says which shapes are there and
what they cost the first time, so that a start knows what to expect and says what it was spared.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from vllm import envs

if TYPE_CHECKING:
    from vllm.config import VllmConfig

__all__ = ["Manifest"]


class Manifest:
    """Shapes → seconds of their first compilation, for one engine: model, dtype, size of the cache, backend and versions."""

    def __init__(self, config: VllmConfig, backend: str, num_blocks: int) -> None:
        about = _about(config, backend, num_blocks)
        key = hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode()).hexdigest()[:16]
        self.path: Path = envs.VLLM_CACHE_ROOT / "spyre" / f"shapes-{key}.json"
        self._about = about
        self.known: Mapping[str, float] = _read(self.path)

    def write(self, seconds_of: Mapping[str, float]) -> None:
        """Keep what is new; a first compilation's time stays."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        content = {"about": self._about, "seconds_of": {**seconds_of, **self.known}}
        draft = self.path.with_suffix(f".{os.getpid()}")  # ranks write the same
        draft.write_text(json.dumps(content, indent=2, default=str), encoding="utf-8")
        draft.replace(self.path)


def _about(config: VllmConfig, backend: str, num_blocks: int) -> dict[str, Any]:
    """All that compiled code depends on, or that a reader wants to know it by."""
    return {
        "backend": backend,
        "model": dict(config.model_config.hf_config),
        "dtype": config.model_config.dtype,
        "max_model_len": config.model_config.max_model_len,
        "cache": {"dtype": config.cache_config.cache_dtype, "blocks": num_blocks},
        "ranks": config.parallel_config.tensor_parallel_size,
        "versions": {
            "torch": torch.__version__,
            **{name: version(name) for name in ("vllm-core", "vllm-plugin-spyre")},
        },
    }


def _read(path: Path) -> Mapping[str, float]:
    """Empty where there is none; one that cannot be read is like none."""
    try:
        seconds_of: dict[str, float] = json.loads(path.read_text(encoding="utf-8"))["seconds_of"]
    except (OSError, ValueError, KeyError):
        return {}
    return seconds_of
