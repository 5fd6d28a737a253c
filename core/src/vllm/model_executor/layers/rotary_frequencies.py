"""Owns the inverse frequencies of every type of rotary scaling, in fp32, equal to what Transformers computes for the same config.

Legend: F = rotary_dim / 2 frequencies.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch

from vllm.errors import ConfigError
from vllm.model_executor.loader.rope_config import RopeConfig

__all__ = ["inverse_frequencies"]

Frequencies = tuple[torch.Tensor, float]


def inverse_frequencies(rope: RopeConfig, rotary_dim: int, max_model_len: int) -> Frequencies:
    """(inv_freq_F in radians per position, factor on cosines and sines).

    Args:
        rotary_dim: dimensions of a head that rotate; even.
        max_model_len: longest context that the engine serves, in tokens.
    """
    return _BY_TYPE[rope.rope_type](rope, rotary_dim, max_model_len)


def _plain(theta: float, rotary_dim: int) -> torch.Tensor:
    return 1.0 / (theta ** _exponents(rotary_dim))


def _exponents(rotary_dim: int) -> torch.Tensor:
    return torch.arange(0, rotary_dim, 2, dtype=torch.float32) / rotary_dim


def _default(rope: RopeConfig, rotary_dim: int, max_model_len: int) -> Frequencies:
    del max_model_len
    return _plain(rope.theta, rotary_dim), 1.0


def _linear(rope: RopeConfig, rotary_dim: int, max_model_len: int) -> Frequencies:
    """Positions are squeezed by the factor (Chen et al. 2023, arXiv:2306.15595)."""
    del max_model_len
    return _plain(rope.theta, rotary_dim) / rope.factor, 1.0


def _dynamic(rope: RopeConfig, rotary_dim: int, max_model_len: int) -> Frequencies:
    """The base grows with the context past the trained length ("NTK-aware" scaling); here with the longest context served."""
    length = max(max_model_len, rope.max_position)
    growth = rope.factor * length / rope.max_position - (rope.factor - 1)
    return _plain(rope.theta * growth ** (rotary_dim / (rotary_dim - 2)), rotary_dim), 1.0


def _llama3(rope: RopeConfig, rotary_dim: int, max_model_len: int) -> Frequencies:
    """Long waves are squeezed by the factor, short ones kept, those between blended (Llama 3.1, arXiv:2407.21783)."""
    del max_model_len
    low, high = float(rope.options["low_freq_factor"]), float(rope.options["high_freq_factor"])
    plain_F = _plain(rope.theta, rotary_dim)
    turns_F = rope.original_max_position / (2 * math.pi / plain_F)  # full turns within the trained context
    blend_F = ((turns_F - low) / (high - low)).clamp(0.0, 1.0)
    return (1 - blend_F) * plain_F / rope.factor + blend_F * plain_F, 1.0


def _longrope(rope: RopeConfig, rotary_dim: int, max_model_len: int) -> Frequencies:
    """Every frequency has a factor of its own, one set for short and one for long contexts (Ding et al. 2024, arXiv:2402.13753)."""
    name = "long_factor" if max_model_len > rope.original_max_position else "short_factor"
    factors_F = torch.tensor(rope.options[name], dtype=torch.float32)
    if factors_F.numel() != rotary_dim // 2:
        what = f"Rotary embeddings of type 'longrope': {name} has {factors_F.numel()} numbers, {rotary_dim // 2} are needed."
        raise ConfigError(
            what, remedy="correct rope_parameters in config.json: one number for every pair of rotating dimensions"
        )
    return 1.0 / (factors_F * rope.theta ** _exponents(rotary_dim)), _longrope_attention_factor(rope)


def _longrope_attention_factor(rope: RopeConfig) -> float:
    given = rope.options.get("attention_factor")
    if given is not None:
        return float(given)
    if rope.factor <= 1.0:
        return 1.0
    return math.sqrt(1 + math.log(rope.factor) / math.log(rope.original_max_position))


def _yarn(rope: RopeConfig, rotary_dim: int, max_model_len: int) -> Frequencies:
    """Linear scaling for slow dimensions, none for fast ones, a ramp between (Peng et al. 2023, arXiv:2309.00071)."""
    del max_model_len
    kept_F = 1 - _yarn_ramp(rope, rotary_dim)
    wavelengths_F = rope.theta ** _exponents(rotary_dim)
    inv_freq_F = 1.0 / (rope.factor * wavelengths_F) * (1 - kept_F) + 1.0 / wavelengths_F * kept_F
    return inv_freq_F, _yarn_attention_factor(rope)


def _yarn_ramp(rope: RopeConfig, rotary_dim: int) -> torch.Tensor:
    """0 where a dimension turns often within the trained context (kept as it is), 1 where it hardly turns."""
    low = _yarn_dimension(rope, rotary_dim, float(rope.options.get("beta_fast") or 32))
    high = _yarn_dimension(rope, rotary_dim, float(rope.options.get("beta_slow") or 1))
    if rope.options.get("truncate", True):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, rotary_dim - 1)
    width = high - low or 0.001
    return ((torch.arange(rotary_dim // 2, dtype=torch.float32) - low) / width).clamp(0, 1)


def _yarn_dimension(rope: RopeConfig, rotary_dim: int, turns: float) -> float:
    """The dimension that makes `turns` full turns within the trained context."""
    return rotary_dim * math.log(rope.original_max_position / (turns * 2 * math.pi)) / (2 * math.log(rope.theta))


def _yarn_attention_factor(rope: RopeConfig) -> float:
    given = rope.options.get("attention_factor")
    if given is not None:
        return float(given)
    numerator, denominator = rope.options.get("mscale"), rope.options.get("mscale_all_dim")
    if numerator and denominator:
        return _yarn_scale(rope.factor, numerator) / _yarn_scale(rope.factor, denominator)
    return _yarn_scale(rope.factor, 1.0)


def _yarn_scale(factor: float, weight: float) -> float:
    return 1.0 if factor <= 1 else 0.1 * weight * math.log(factor) + 1.0


_BY_TYPE: Mapping[str, Callable[[RopeConfig, int, int], Frequencies]] = {
    "default": _default,
    "linear": _linear,
    "dynamic": _dynamic,
    "llama3": _llama3,
    "yarn": _yarn,
    "longrope": _longrope,
}
