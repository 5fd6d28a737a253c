"""Owns reading a checkpoint's `quantization_config` in the format "compressed-tensors": what is implemented, and a sentence on all else.

The format's fields: https://github.com/vllm-project/compressed-tensors. No torch here.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vllm.errors import ConfigError, near_names

__all__ = ["CompressedTensorsSettings", "Int8Scheme"]

Allowed = Mapping[str, tuple[Any, ...]]

_TOP: Allowed = {
    "format": ("int-quantized",),
    "quantization_status": ("compressed", "frozen", None),
    "kv_cache_scheme": (None,),
    "sparsity_config": (None, {}, {"format": "dense"}),
    "transform_config": (None, {}),
}
_GROUP: Allowed = {"output_activations": (None,), "format": ("int-quantized", None)}
_INT8: Allowed = {
    "num_bits": (8,),
    "type": ("int",),
    "symmetric": (True,),
    "group_size": (None, -1),
    "block_structure": (None,),
    "actorder": (None,),
}
_WEIGHTS: Allowed = {**_INT8, "strategy": ("channel",), "dynamic": (False,)}
_ACTIVATIONS: Allowed = {**_INT8, "strategy": ("token",), "dynamic": (True,)}
_WHERE_MISSING = {"num_bits": 8, "type": "int", "symmetric": True, "dynamic": False, "strategy": "tensor"}
"""The format's defaults; of every other field None."""
_WITHOUT_EFFECT = frozenset(
    {
        *("quant_method", "version", "global_compression_ratio", "run_compressed", "config_groups", "ignore"),
        *("targets", "weights", "input_activations", "observer", "observer_kwargs", "scale_dtype", "zp_dtype"),
    }
)
"""Read elsewhere, or of interest only to the program that quantised."""
_REMEDY = (
    "use a checkpoint whose linear layers are W8A8 (weights int8 symmetric per channel, activations int8 dynamic per token) "
    "or int8 weights alone, saved in the format int-quantized"
)
_LINEAR = "Linear"


@dataclass(frozen=True, kw_only=True, slots=True)
class Int8Scheme:
    """How the linear layers of one group are kept: int8 weights with one scale per output channel."""

    quantises_activations: bool
    """Per token, as they come; False: weights alone are quantised."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CompressedTensorsSettings:
    """The part of the format that this release implements."""

    groups: tuple[tuple[tuple[str, ...], Int8Scheme], ...]
    """(targets, scheme), in the config's order. A target is "Linear", a module's name, or "re:" and a pattern for its beginning."""
    ignore: tuple[str, ...]
    """Modules that are not quantised, named like targets."""

    @classmethod
    def read(cls, settings: Mapping[str, Any]) -> CompressedTensorsSettings:
        """From a checkpoint's `quantization_config`.

        Raises:
            ConfigError: it asks for what is not implemented, or is malformed; the text names field and value.
        """
        name = "quantization_config"
        _check(name, settings, _TOP)
        groups = _section(f"{name}.config_groups", settings.get("config_groups"))
        ignore = _patterns(f"{name}.ignore", settings.get("ignore") or ())
        return cls(
            groups=tuple(_group(f"{name}.config_groups.{key}", group) for key, group in groups.items()), ignore=ignore
        )

    def ignores(self, names: Collection[str]) -> bool:
        """Whether the linear module that a checkpoint may call by any of `names` is left unquantised."""
        return _names_one_of(self.ignore, names)

    def scheme(self, names: Collection[str]) -> Int8Scheme | None:
        """Of the linear module that a checkpoint may call by any of `names`: a group that names it goes before "Linear"."""
        if self.ignores(names):
            return None
        by_name = [scheme for targets, scheme in self.groups if _names_one_of(set(targets) - {_LINEAR}, names)]
        by_class = [scheme for targets, scheme in self.groups if _LINEAR in targets]
        return next(iter(by_name + by_class), None)


def _group(path: str, given: Any) -> tuple[tuple[str, ...], Int8Scheme]:
    group = _section(path, given)
    _check(path, group, _GROUP)
    _check(f"{path}.weights", _section(f"{path}.weights", group.get("weights")), _WEIGHTS)
    activations = group.get("input_activations")
    if activations is not None:
        _check(f"{path}.input_activations", _section(f"{path}.input_activations", activations), _ACTIVATIONS)
    targets = _patterns(f"{path}.targets", group.get("targets") or ())
    for target in targets:
        if target != _LINEAR and target.isidentifier() and target[0].isupper():
            raise ConfigError(
                f"{path}.targets names modules of the class {target!r}; this release reads quantised {_LINEAR} modules only.",
                remedy=_REMEDY,
            )
    return targets, Int8Scheme(quantises_activations=activations is not None)


def _check(path: str, section: Mapping[str, Any], allowed: Allowed) -> None:
    """Every field has a value that is implemented; a field nobody knows may only be empty."""
    for field, values in allowed.items():
        value = section.get(field, _WHERE_MISSING.get(field))
        if value not in values:
            implemented = " or ".join(repr(each) for each in values)
            raise ConfigError(f"{path} has {field} {value!r}; this release implements {implemented}.", remedy=_REMEDY)
    for field in section.keys() - allowed.keys() - _WITHOUT_EFFECT:
        if section[field]:
            raise ConfigError(
                f"{path} has {field} {section[field]!r}, a field that this release does not know.",
                remedy=_REMEDY,
                candidates=near_names(field, allowed),
            )


def _section(path: str, value: Any) -> Mapping[str, Any]:
    if isinstance(value, Mapping) and value:
        return value
    raise ConfigError(f"{path} is {value!r}; an object that says how weights are quantised is needed.", remedy=_REMEDY)


def _patterns(path: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str) or not all(isinstance(each, str) for each in value):
        raise ConfigError(f"{path} is {value!r}; a list of names is needed.", remedy="correct config.json")
    for pattern in value:
        try:
            re.compile(pattern.removeprefix("re:"))
        except re.error as error:
            raise ConfigError(
                f"{path} has {pattern!r}, no regular expression: {error}.", remedy="correct it"
            ) from error
    return tuple(value)


def _names_one_of(patterns: Collection[str], names: Collection[str]) -> bool:
    return any(
        pattern in (_LINEAR, name)
        or (pattern.startswith("re:") and re.match(pattern.removeprefix("re:"), name) is not None)
        for pattern in patterns
        for name in names
    )
