"""Owns the way from a configuration to a model with its weights."""

from __future__ import annotations

import time
from dataclasses import replace

from torch import nn

from vllm.errors import ConfigError, near_names
from vllm.logger import init_logger
from vllm.model_executor.context import ModelContext
from vllm.model_executor.layers.fused_moe import FusedMoE
from vllm.model_executor.layers.linear import LinearLayer, ReplicatedLinear
from vllm.model_executor.layers.vocab import ParallelLMHead
from vllm.model_executor.loader.checkpoint import load_checkpoint
from vllm.model_executor.loader.dummy import fill_with_dummy_weights
from vllm.model_executor.models.registry import ModelRegistry

__all__ = ["build_model"]

logger = init_logger(__name__)

_FORMATS = ("auto", "safetensors", "dummy")


def build_model(ctx: ModelContext) -> nn.Module:
    """See `vllm.model_executor.loader.build_model`."""
    load_format = ctx.config.load_config.load_format
    if load_format not in _FORMATS:
        what = f"--load-format {load_format} is not known; known are {', '.join(_FORMATS)}."
        raise ConfigError(what, remedy="choose one of these", candidates=near_names(load_format, _FORMATS))
    model_cls = ModelRegistry.resolve(ctx.config.model_config.architecture)
    model = model_cls(replace(ctx, checkpoint_names=model_cls.checkpoint_names))
    started_s = time.monotonic()
    if load_format == "dummy":
        fill_with_dummy_weights(model, ctx.config.model_config.seed)
    else:
        load_checkpoint(model, ctx.config.model_config.model, use_tqdm=_shows_progress(ctx))
    _finish(model)
    logger.info("Loading weights took %.2f seconds.", time.monotonic() - started_s)
    return model


def _shows_progress(ctx: ModelContext) -> bool:
    return ctx.config.load_config.use_tqdm_on_load and ctx.tp.rank == 0


def _finish(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, LinearLayer):
            module.method.process_after_loading(module)
        elif isinstance(module, (FusedMoE, ParallelLMHead, ReplicatedLinear)):
            module.process_after_loading()
    model.eval()
    model.requires_grad_(False)
