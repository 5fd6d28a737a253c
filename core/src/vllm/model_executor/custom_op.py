"""Ops by declaration: the core's layers create named ops; a platform may replace a name by a class of its own.

The native class of a name is pure torch and is the oracle that the conformance kit compares replacements with. A replacement subclasses it
and overrides `forward`; `forward_native` stays reachable.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar

from torch import nn

from vllm.errors import ConfigError
from vllm.plugins.dotted import load_subclass

__all__ = ["CustomOp", "OpSet", "native_op", "native_ops"]

_NATIVE: dict[str, type[CustomOp]] = {}
OpT = TypeVar("OpT", bound="type[CustomOp]")


class CustomOp(nn.Module):
    """A named op. Subclasses define `forward_native`; the default `forward` is it."""

    op_name: ClassVar[str]

    def forward_native(self, *args: Any, **kwargs: Any) -> Any:
        """The definition in pure torch."""
        raise NotImplementedError(f"op {type(self).__name__} defines no forward_native")

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What layers call; a replacement overrides it with the same arguments and results."""
        return self.forward_native(*args, **kwargs)


def native_op(name: str) -> Callable[[OpT], OpT]:
    """Class decorator: this class defines the op `name`."""

    def register(cls: OpT) -> OpT:
        assert name not in _NATIVE or _NATIVE[name].__qualname__ == cls.__qualname__, f"op {name} is defined twice"
        cls.op_name = name
        _NATIVE[name] = cls
        return cls

    return register


def native_ops() -> Mapping[str, type[CustomOp]]:
    """All defined ops by name; the modules under `model_executor.ops`, and the sampler's, define them when imported."""
    import vllm.model_executor.ops
    import vllm.sampling.sampler  # noqa: F401  (the imports register)

    return dict(_NATIVE)


class OpSet:
    """The ops of one platform: native classes with the platform's replacements."""

    def __init__(self, overrides: Mapping[str, str] | None = None) -> None:
        """Args: overrides: op name → dotted path "package.module.Class" of a subclass of the native op."""
        self._classes: dict[str, type[CustomOp]] = dict(native_ops())
        for name, path in (overrides or {}).items():
            self._classes[name] = _load_override(name, path, self._classes)

    def create(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """A new op of that name (typed Any: the layer knows the op's call signature)."""
        return self._classes[name](*args, **kwargs)

    def cls(self, name: str) -> type[CustomOp]:
        """The class in force for `name`."""
        return self._classes[name]


def _load_override(name: str, path: str, known: Mapping[str, type[CustomOp]]) -> type[CustomOp]:
    if name not in known:
        what = f"The platform replaces the op {name!r}, which does not exist"
        raise ConfigError(what, remedy="name one of the core's ops in Platform.op_overrides()", candidates=known)
    return load_subclass(path, known[name], option=f"the platform's replacement of the op {name!r}")
