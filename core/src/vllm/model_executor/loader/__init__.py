"""From a checkpoint folder to a model with its weights. Importing this package imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from vllm.model_executor.context import ModelContext

__all__ = ["build_model"]


def build_model(ctx: ModelContext) -> nn.Module:
    """The model of `ctx.config`, on `ctx.device` in `ctx.dtype`, with the weights that `load_config` asks for.

    Raises:
        ConfigError: the architecture or its settings do not work.
        ModelLoadError: the weights do not fit or cannot be read.
    """
    from vllm.model_executor.loader.build import build_model as build

    return build(ctx)
