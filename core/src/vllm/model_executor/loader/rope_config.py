"""Owns how rotary settings are read from a checkpoint's config, in the new form (`rope_parameters`) and the old (`rope_scaling`).

No torch here: the context length is derived from these before anything heavy is imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vllm.errors import ConfigError, near_names

__all__ = ["ROPE_TYPES", "RopeConfig", "read_rope_config"]

_REQUIRED_KEYS: Mapping[str, tuple[str, ...]] = {
    "default": (),
    "linear": ("factor",),
    "dynamic": ("factor",),
    "yarn": (),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor"),
    "longrope": ("short_factor", "long_factor"),
}
ROPE_TYPES = tuple(_REQUIRED_KEYS)
_ALIASES = {"su": "longrope", "mrope": "default"}  # mrope with text alone turns every section by the same position
_KEEPS_ORIGINAL_LENGTH = ("llama3", "yarn", "longrope")
_DEFAULT_THETA = 10000.0
_POSITIVE_KEYS = (
    "factor", "low_freq_factor", "high_freq_factor", "beta_fast", "beta_slow", "rope_theta", "original_max_position_embeddings",
)  # fmt: skip
_REMEDY = "correct rope_parameters in config.json, or with --hf-overrides"


@dataclass(frozen=True, kw_only=True)
class RopeConfig:
    """One rotary embedding as the checkpoint asks for it."""

    rope_type: str
    """One of ROPE_TYPES."""
    theta: float
    """Base of the wavelengths."""
    partial_rotary_factor: float
    """Share of the head that rotates; the rest passes through."""
    max_position: int
    """`max_position_embeddings`."""
    original_max_position: int
    """Context length of the pretraining, before scaling."""
    options: Mapping[str, Any]
    """What else the type reads: factor, low_freq_factor, beta_fast, short_factor, …"""

    @property
    def factor(self) -> float:
        """How many times the original context is stretched; derived from the two lengths where it is not given."""
        given = self.options.get("factor")
        return float(given) if given is not None else self.max_position / self.original_max_position


def read_rope_config(hf_config: Mapping[str, Any], layer_type: str | None = None) -> RopeConfig:
    """The rotary settings of a config.json, of `layer_type` where they differ by type of layer.

    Raises:
        ConfigError: an unknown type, or a key that the type needs is missing.
    """
    raw = _raw_parameters(hf_config, layer_type)
    rope_type = _rope_type(raw)
    _check_keys(rope_type, raw)
    max_position = int(hf_config.get("max_position_embeddings") or 2048)
    return RopeConfig(
        rope_type=rope_type,
        theta=float(_first_given("rope_theta", _DEFAULT_THETA, raw, hf_config)),
        partial_rotary_factor=float(_first_given("partial_rotary_factor", 1.0, raw, hf_config)),
        max_position=max_position,
        original_max_position=_original_max_position(rope_type, raw, hf_config, max_position),
        options=raw,
    )


def _raw_parameters(hf_config: Mapping[str, Any], layer_type: str | None) -> Mapping[str, Any]:
    """Both forms may be there, where the old one came as an override: it says the type, and adds to the rest."""
    old, new = _section(hf_config, "rope_scaling"), _section(hf_config, "rope_parameters")
    nested = {key: value for key, value in new.items() if isinstance(value, Mapping)}
    if nested:
        new = nested.get(layer_type or "full_attention") or next(iter(nested.values()))
    if old:
        new = {key: value for key, value in new.items() if key not in ("rope_type", "type")}
    return {**new, **old}


def _section(hf_config: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    section = hf_config.get(key) or {}
    if isinstance(section, Mapping):
        return section
    raise ConfigError(f"The model's config has {key} {section!r}; an object is needed.", remedy=_REMEDY)


def _rope_type(raw: Mapping[str, Any]) -> str:
    given = str(raw.get("rope_type") or raw.get("type") or "default")
    rope_type = _ALIASES.get(given, given)
    if rope_type not in _REQUIRED_KEYS:
        what = f"The model's config asks for rotary embeddings of type {given!r}; known are {', '.join(ROPE_TYPES)}."
        raise ConfigError(what, remedy=_REMEDY, candidates=near_names(given, ROPE_TYPES))
    return rope_type


def _check_keys(rope_type: str, raw: Mapping[str, Any]) -> None:
    missing = [key for key in _REQUIRED_KEYS[rope_type] if raw.get(key) is None]
    if missing:
        what = (
            f"Rotary embeddings of type {rope_type!r} need {', '.join(missing)} in rope_parameters; given: {dict(raw)}."
        )
        raise ConfigError(what, remedy="add the missing keys to config.json, or with --hf-overrides")
    for key in _POSITIVE_KEYS:
        value = raw.get(key)
        if value is not None and not (isinstance(value, (int, float)) and value > 0):
            raise ConfigError(f"{key} of the rotary embeddings is {value!r}; it must be a number > 0.", remedy=_REMEDY)


def _first_given(key: str, default: float, *sources: Mapping[str, Any]) -> Any:
    return next((source[key] for source in sources if source.get(key) is not None), default)


def _original_max_position(
    rope_type: str, raw: Mapping[str, Any], hf_config: Mapping[str, Any], max_position: int
) -> int:
    """The top level wins (Phi-3 keeps it there), as in Transformers."""
    if rope_type not in _KEEPS_ORIGINAL_LENGTH:
        return max_position
    return int(_first_given("original_max_position_embeddings", max_position, hf_config, raw))
