"""The core's named ops in pure torch: importing this package defines them all (see `vllm.model_executor.custom_op`)."""

from __future__ import annotations

from vllm.model_executor.ops.activation import GeluAndMul, GeluTanhAndMul, SiluAndMul
from vllm.model_executor.ops.linear import Linear, VocabEmbedding
from vllm.model_executor.ops.moe import FusedExperts
from vllm.model_executor.ops.norm import GemmaRMSNorm, RMSNorm
from vllm.model_executor.ops.quantised_linear import W8A8Int8Linear, W8A16Int8Linear
from vllm.model_executor.ops.rotary import RotaryEmbedding

__all__ = [
    "FusedExperts",
    "GeluAndMul",
    "GeluTanhAndMul",
    "GemmaRMSNorm",
    "Linear",
    "RMSNorm",
    "RotaryEmbedding",
    "SiluAndMul",
    "VocabEmbedding",
    "W8A8Int8Linear",
    "W8A16Int8Linear",
]
