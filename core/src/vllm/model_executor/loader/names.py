"""Owns how names of checkpoint tensors become names of parameters. No torch here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["CheckpointNames", "expert_part"]

_NEVER_NEEDED = (r"rotary_emb\.inv_freq$",)


def expert_part(expert: int, part: str | None) -> str:
    """What the part of one expert is called in a parameter that stacks all of them: "3", or "3.gate"."""
    return f"{expert}" if part is None else f"{expert}.{part}"


@dataclass(frozen=True, kw_only=True)
class CheckpointNames:
    """One family's rules. A name loses the first matching prefix, then its components are renamed or stacked, one by one."""

    prefixes: tuple[str, ...] = ()
    """Cut from the front, e.g. "model."."""
    renamed: Mapping[str, str] = field(default_factory=dict)
    """Component of a checkpoint name → component of the parameter's name."""
    stacked: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Component of a checkpoint name → (component of the fused parameter's name, part of it)."""
    expert_list: str | None = None
    """Component that an expert's number follows: "experts" for "mlp.experts.3.up_proj.weight". The number goes into the part."""
    ignored: tuple[str, ...] = ()
    """Patterns of tensors that the model does not need; those that every family ignores are added."""

    def is_ignored(self, name: str) -> bool:
        """Whether the checkpoint tensor is left unread."""
        return any(re.search(pattern, name) for pattern in (*self.ignored, *_NEVER_NEEDED))

    def parameter(self, name: str) -> tuple[str, str | None]:
        """(parameter name, part) where the checkpoint tensor `name` goes; nothing says yet that such a parameter exists."""
        prefix = next((prefix for prefix in self.prefixes if name.startswith(prefix)), "")
        part = None
        expert, components = self._without_expert(name[len(prefix) :].split("."))
        for index, component in enumerate(components):
            if component in self.stacked:
                components[index], part = self.stacked[component]
            else:
                components[index] = self.renamed.get(component, component)
        return ".".join(components), part if expert is None else expert_part(expert, part)

    def modules(self, layer: str) -> tuple[tuple[str, ...], ...]:
        """The checkpoint's modules that the layer `layer` is made of, each with every name it may have, longest first.

        Of experts, which stand in one layer here, name one: "mlp.experts.3.gate_up_proj".
        """
        expert, components = self._without_expert(layer.split("."))
        parts = [part for target, part in self.stacked.values() if target == components[-1]]
        names = [
            self.describe(".".join(components), part if expert is None else expert_part(expert, part))
            for part in parts or (None,)
        ]
        return tuple((*(prefix + name for prefix in self.prefixes), name) for name in names)

    def describe(self, parameter: str, part: str | None) -> str:
        """How a missing tensor would be called in a checkpoint: the inverse of `parameter`, for error texts."""
        unstacked = {target: component for component, target in self.stacked.items()}
        unrenamed = {new: old for old, new in self.renamed.items()}
        components = parameter.split(".")
        expert = None
        if self.expert_list in components and part is not None:
            expert, _, part = part.partition(".")
        components = [
            unstacked.get((component, part or ""), unrenamed.get(component, component)) for component in components
        ]
        if expert is not None:
            components.insert(parameter.split(".").index(str(self.expert_list)) + 1, expert)
        return ".".join(components)

    def _without_expert(self, components: list[str]) -> tuple[int | None, list[str]]:
        """(the expert's number, the other components); None where there is no such number."""
        if self.expert_list in components:
            number = components.index(str(self.expert_list)) + 1
            if number < len(components) and components[number].isdecimal():
                return int(components[number]), components[:number] + components[number + 1 :]
        return None, components
