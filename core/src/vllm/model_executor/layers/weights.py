"""Owns how a layer says where a checkpoint's tensors go: which part of each tensor this rank keeps, and in which rows of which parameter.

The loader asks every `ShardedModule` for its `WeightLoader`s and reads only what they place. A parameter without a loader is kept whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn

__all__ = ["Placement", "Share", "ShardedModule", "WeightLoader", "WholeWeight", "weight_loaders"]


@dataclass(frozen=True, slots=True)
class Share:
    """One rank's stretch of one axis of a checkpoint tensor."""

    total: int
    """Length of the axis in the checkpoint."""
    start: int
    length: int

    @classmethod
    def whole(cls, total: int) -> Share:
        return cls(total, 0, total)

    @classmethod
    def equal(cls, total: int, rank: int, world_size: int) -> Share:
        """The rank's equal stretch; the caller has checked that `total` divides."""
        assert total % world_size == 0, f"{total} does not divide by {world_size} ranks"
        return cls(total, rank * (total // world_size), total // world_size)

    @property
    def as_slice(self) -> slice:
        return slice(self.start, self.start + self.length)


@dataclass(frozen=True, slots=True)
class Placement:
    """One checkpoint tensor's way into a parameter: the stretch of `shares` is copied into `target`."""

    target: torch.Tensor
    """A view of the parameter with exactly the shape of the shares."""
    shares: tuple[Share, ...]

    @property
    def checkpoint_shape(self) -> tuple[int, ...]:
        """Shape that the tensor must have in the checkpoint."""
        return tuple(share.total for share in self.shares)

    @property
    def source(self) -> tuple[slice, ...]:
        """What of the checkpoint tensor this rank keeps."""
        return tuple(share.as_slice for share in self.shares)


class WeightLoader(Protocol):
    """Knows one parameter's parts. A fused parameter has several ("q", "k", "v"), every other one has the part None."""

    @property
    def parts(self) -> tuple[str | None, ...]:
        """All parts; each must be loaded exactly once."""

    def place(self, part: str | None) -> Placement:
        """Where the checkpoint tensor of that part goes."""


@dataclass(frozen=True, slots=True)
class WholeWeight:
    """A parameter that every rank keeps whole."""

    parameter: torch.Tensor

    @property
    def parts(self) -> tuple[str | None, ...]:
        return (None,)

    def place(self, part: str | None) -> Placement:
        assert part is None, f"a parameter in one piece has no part {part!r}"
        return Placement(self.parameter, tuple(Share.whole(size) for size in self.parameter.shape))


class ShardedModule(nn.Module):
    """A module with parameters of which this rank holds a part."""

    def __init__(self) -> None:
        super().__init__()
        self.loaders: dict[str, WeightLoader] = {}

    def add_weight(self, name: str, value: torch.Tensor, loader: WeightLoader) -> None:
        """Register the parameter `name`; `loader` places tensors into `value` itself."""
        self.register_parameter(name, nn.Parameter(value, requires_grad=False))
        self.loaders[name] = loader

    def replace_weight(self, name: str, value: torch.Tensor) -> None:
        """After loading: `value` takes the place of the parameter `name`, whose memory is freed."""
        self.loaders.pop(name, None)
        self.register_parameter(name, nn.Parameter(value, requires_grad=False))


def weight_loaders(model: nn.Module) -> Mapping[str, WeightLoader]:
    """The loader of every parameter of a model by its full name; a parameter shared by two modules appears once."""
    declared = {
        f"{prefix}.{name}" if prefix else name: loader
        for prefix, module in model.named_modules()
        if isinstance(module, ShardedModule)
        for name, loader in module.loaders.items()
    }
    return {name: declared.get(name) or WholeWeight(parameter.data) for name, parameter in model.named_parameters()}
