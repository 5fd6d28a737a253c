"""Owns the discovery of plugins: entry points, `VLLM_PLUGINS`, the API range, loading. Nothing here imports torch."""

from __future__ import annotations

from vllm.errors import Unavailable

__all__ = ["Unavailable"]
