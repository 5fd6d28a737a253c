"""An import-linter contract for rooms: each module belongs to one layer, and imports only its own layer or lower ones.

import-linter's own layers contract wants whole packages as layers, but a package of core holds both its contract
(`vllm.worker.worker_base`) and implementations of it (`vllm.worker.torch_worker`), which stand in different layers.
Here the longest listed name that a module lies under decides its layer. Every module must lie under one, so direct
imports are all that needs checking, and a new room is noticed at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output
from importlinter.application import contract_utils
from importlinter.application.contract_utils import AlertLevel

__all__ = ["Layers", "RoomsContract", "Violation"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Violation:
    """One import that the layers forbid."""

    importer: str
    imported: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class _Place:
    """Where a room stands. `height` grows upwards; rooms of one layer that `|` parts have different `wing`s."""

    height: int
    wing: int


class Layers:
    """The layers as written in the configuration: highest first, one per line, rooms parted by blanks, wings by `|`."""

    def __init__(self, lines: Sequence[str]) -> None:
        self._places = {
            room: _Place(height=len(lines) - number, wing=wing)
            for number, line in enumerate(lines)
            for wing, group in enumerate(line.split("|"))
            for room in group.split()
        }

    def room(self, module: str) -> str | None:
        """The longest listed name that `module` is or lies under."""
        parts = module.split(".")
        prefixes = (".".join(parts[:count]) for count in range(len(parts), 0, -1))
        return next((name for name in prefixes if self._covers(name, module)), None)

    def _covers(self, name: str, module: str) -> bool:
        """A listed root package stands for itself only: a new room directly under it must be listed."""
        return name in self._places and ("." in name or name == module)

    def unplaced(self, modules: Iterable[str]) -> list[str]:
        """Modules that lie under no listed room."""
        return sorted(module for module in modules if self.room(module) is None)

    def unknown(self, modules: Iterable[str]) -> list[str]:
        """Listed rooms that no module lies in: a typing mistake, or a room that was renamed."""
        return sorted(set(self._places) - {self.room(module) for module in modules})

    def violation(self, importer: str, imported: str) -> Violation | None:
        """What is wrong with this import, if anything. The root is free: Python imports it before any of its modules."""
        if "." not in imported:
            return None
        upper_room, lower_room = self.room(importer), self.room(imported)
        if upper_room is None or lower_room is None:
            return None
        upper, lower = self._places[upper_room], self._places[lower_room]
        if upper.height < lower.height:
            return Violation(importer=importer, imported=imported, reason=f"{lower_room} lies above {upper_room}")
        if upper.height == lower.height and upper.wing != lower.wing:
            return Violation(importer=importer, imported=imported, reason=f"{lower_room} and {upper_room} are apart")
        return None


class RoomsContract(Contract):
    """`type = rooms`, with the options `root` (the package), `layers` (see `Layers`) and `ignore_imports`.

    An ignored import that no longer exists is an error, so that the list of exceptions stays true.
    """

    type_name = "rooms"

    root = fields.StringField()
    layers = fields.ListField(subfield=fields.StringField())
    ignore_imports = fields.SetField(subfield=fields.ImportExpressionField(), required=False)

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        """Keep the contract when every module has a place and no direct import climbs."""
        root = str(self.root)
        layers = Layers(list(self.layers))  # type: ignore[call-overload]  # a field reads as its parsed value
        contract_utils.remove_ignored_imports_and_report(
            graph=graph,
            ignore_imports=self.ignore_imports,  # type: ignore[arg-type]
            unmatched_alerting=AlertLevel.ERROR,
        )
        modules = sorted({root, *graph.find_descendants(root)})
        found = [
            violation
            for importer in modules
            for imported in sorted(graph.find_modules_directly_imported_by(importer))
            if (violation := layers.violation(importer, imported)) is not None
        ]
        missing = [*(f"{name} stands in no layer" for name in layers.unplaced(modules))]
        missing += [f"{name} is listed but holds no module" for name in layers.unknown(modules)]
        return ContractCheck(kept=not found and not missing, metadata={"violations": found, "places": missing})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """One line for each thing that is wrong."""
        for place in check.metadata["places"]:
            output.print_error(place, bold=False)
        for violation in check.metadata["violations"]:
            output.print_error(f"{violation.importer} imports {violation.imported}: {violation.reason}", bold=False)
