"""Model families as data, the one decoder that they share, and the registry. Importing this package imports no torch."""

from __future__ import annotations

from vllm.model_executor.models.registry import ModelRegistry

__all__ = ["ModelRegistry"]
