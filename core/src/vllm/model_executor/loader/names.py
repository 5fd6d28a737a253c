"""Owns how names of checkpoint tensors become names of parameters. No torch here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["CheckpointNames"]

_NEVER_NEEDED = (r"rotary_emb\.inv_freq$",)


@dataclass(frozen=True, kw_only=True)
class CheckpointNames:
    """One family's rules. A name loses the first matching prefix, then its components are renamed or stacked, one by one."""

    prefixes: tuple[str, ...] = ()
    """Cut from the front, e.g. "model."."""
    renamed: Mapping[str, str] = field(default_factory=dict)
    """Component of a checkpoint name → component of the parameter's name."""
    stacked: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Component of a checkpoint name → (component of the fused parameter's name, part of it)."""
    ignored: tuple[str, ...] = ()
    """Patterns of tensors that the model does not need; those that every family ignores are added."""

    def is_ignored(self, name: str) -> bool:
        """Whether the checkpoint tensor is left unread."""
        return any(re.search(pattern, name) for pattern in (*self.ignored, *_NEVER_NEEDED))

    def parameter(self, name: str) -> tuple[str, str | None]:
        """(parameter name, part) where the checkpoint tensor `name` goes; nothing says yet that such a parameter exists."""
        prefix = next((prefix for prefix in self.prefixes if name.startswith(prefix)), "")
        part = None
        components = name[len(prefix) :].split(".")
        for index, component in enumerate(components):
            if component in self.stacked:
                components[index], part = self.stacked[component]
            else:
                components[index] = self.renamed.get(component, component)
        return ".".join(components), part

    def describe(self, parameter: str, part: str | None) -> str:
        """How a missing tensor would be called in a checkpoint: the inverse of `parameter`, for error texts."""
        unstacked = {target: component for component, target in self.stacked.items()}
        unrenamed = {new: old for old, new in self.renamed.items()}
        components = [
            unstacked.get((component, part or ""), unrenamed.get(component, component))
            for component in parameter.split(".")
        ]
        return ".".join(components)
