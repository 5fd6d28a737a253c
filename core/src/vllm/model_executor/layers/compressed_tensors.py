"""Owns the quantisation method "compressed-tensors": which linear layers of a checkpoint are quantised, and how they are kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vllm.errors import ConfigError
from vllm.model_executor.layers.compressed_tensors_config import CompressedTensorsSettings
from vllm.model_executor.layers.int8_linear import QuantisedLinear
from vllm.model_executor.layers.quantization import LinearMethod, QuantizationConfig

if TYPE_CHECKING:
    from vllm.config.model import ModelConfig
    from vllm.model_executor.context import ModelContext

__all__ = ["CompressedTensorsConfig"]


class CompressedTensorsConfig(QuantizationConfig):
    """Linear layers of int8 weights, with activations quantised per token (W8A8) or as they are; embedding and output head stay."""

    def __init__(self, settings: CompressedTensorsSettings) -> None:
        self.settings = settings

    @classmethod
    def from_config(cls, settings: Mapping[str, Any]) -> QuantizationConfig:
        return cls(CompressedTensorsSettings.read(settings))

    def check(self, model_config: ModelConfig) -> None:
        has_a_head = not model_config.hf_config.get("tie_word_embeddings", False)
        if has_a_head and self.settings.scheme(["lm_head"]) is not None:
            raise ConfigError(
                f"quantization_config.ignore is {list(self.settings.ignore)}, so that lm_head is quantised; "
                "this release keeps the output head in 16 or 32 bits.",
                remedy='use a checkpoint that was quantised with "lm_head" in ignore',
            )

    def linear_method(self, ctx: ModelContext, layer_name: str) -> LinearMethod | None:
        """
        Raises:
            ConfigError: parts of one fused layer are to be kept differently.
        """
        parts = ctx.checkpoint_names.modules(layer_name)
        schemes = {names[0]: self.settings.scheme(names) for names in parts}
        first = next(iter(schemes.values()))
        if any(scheme != first for scheme in schemes.values()):
            told = ", ".join(
                f"{name} ({'kept' if scheme is None else 'quantised'})" for name, scheme in schemes.items()
            )
            raise ConfigError(
                f"quantization_config wants parts of one fused layer kept differently: {told}.",
                remedy="use a checkpoint that ignores all of them, or none",
            )
        if first is None:
            return None
        return QuantisedLinear(ctx, "w8a8_int8_linear" if first.quantises_activations else "w8a16_int8_linear")
