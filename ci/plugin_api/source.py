"""Reads the interface from core's sources with griffe; nothing is imported, so no torch is needed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import griffe

from ci.plugin_api.items import Item, Kind
from ci.plugin_api.surface import SURFACE

__all__ = ["Reading", "read_sources"]

_ABSTRACT = {"abc.abstractmethod", "abstractmethod"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """What the sources say."""

    items: list[Item]
    """In the order of the modules, and of each module's source."""
    module_docs: dict[str, str]


def read_sources(src: Path, modules: Sequence[str] = SURFACE) -> Reading:
    """The interface that `modules` below `src` declare.

    Raises:
        ValueError: one of them is not there.
    """
    package, surface = _load(src, modules), frozenset(modules)
    found = {name: _module(package, name) for name in modules}
    items = [item for module in found.values() for item in _module_items(package, module, surface)]
    return Reading(items=items, module_docs={name: _doc(module) for name, module in found.items()})


def _module(package: griffe.ModulesCollection, name: str) -> griffe.Module:
    try:
        module = package[name]
    except KeyError as error:
        raise ValueError(f"ci/plugin_api/surface.py lists {name}, which is not among core's sources") from error
    assert isinstance(module, griffe.Module)
    return module


def _load(src: Path, modules: Iterable[str]) -> griffe.ModulesCollection:
    loader = griffe.GriffeLoader(search_paths=[src], allow_inspection=False)
    for top in sorted({name.partition(".")[0] for name in modules}):
        loader.load(top)
    return loader.modules_collection


def _module_items(package: griffe.ModulesCollection, module: griffe.Module, surface: frozenset[str]) -> Iterator[Item]:
    name = module.path
    for public in _public_names(module):
        member = module.members.get(public)
        if member is None:
            continue  # made by a module's `__getattr__`, as current_platform is
        if isinstance(member, griffe.Alias):
            target = member.target_path
            if target.rpartition(".")[0] in surface:
                yield Item(module=name, owner=None, name=public, kind=Kind.EXPORT, text=f" = {target}")
                continue
            member = package[target]
        assert isinstance(member, griffe.Object)
        yield from _definition(member, name)


def _public_names(module: griffe.Module) -> list[str]:
    if module.exports is not None:
        return [str(name) for name in module.exports]
    own = (name for name, member in module.members.items() if not member.is_alias)
    return [name for name in own if not name.startswith("_") and name != "logger"]


def _definition(member: griffe.Object, module: str) -> Iterator[Item]:
    if isinstance(member, griffe.Class):
        yield Item(
            module=module,
            owner=None,
            name=member.name,
            kind=Kind.CLASS,
            text=_class_text(member),
            doc=_doc(member),
        )
        own = (each for each in member.members.values() if isinstance(each, griffe.Object))
        members = (each for each in own if _is_declared(each, member))
        yield from (_member(each, module, member) for each in members)
    else:
        yield _member(member, module, None)


def _is_declared(member: griffe.Object, owner: griffe.Class) -> bool:
    """Public names, `__init__`, and the inner methods that a plugin fills: abstract ones and those behind a final method."""
    name = member.name
    if name == "__init__":
        return "kw_only=True" not in _class_text(owner)  # of a dataclass by keyword its fields say everything
    if not name.startswith("_"):
        return True
    if not isinstance(member, griffe.Function) or name.startswith("__"):
        return False
    public = owner.members.get(name.removeprefix("_"))
    return "abstract" in _marks(member) or (isinstance(public, griffe.Function) and "final" in _marks(public))


def _member(member: griffe.Object, module: str, owner: griffe.Class | None) -> Item:
    kind, text, marks = _shape(member, owner)
    return Item(
        module=module,
        owner=owner.name if owner else None,
        name=member.name,
        kind=kind,
        text=text,
        marks=marks,
        doc=_doc(member),
    )


def _shape(member: griffe.Object, owner: griffe.Class | None) -> tuple[Kind, str, tuple[str, ...]]:
    if isinstance(member, griffe.Function):
        return Kind.FUNCTION, member.signature().removeprefix(member.name), _marks(member)
    assert isinstance(member, griffe.Attribute), f"{member.path} is a {member.kind}: the lock has no line for it"
    if "property" in member.labels:
        marks = ("abstract",) if "abstractmethod" in member.labels else ()
        return Kind.PROPERTY, f" -> {member.annotation}", marks
    annotation = member.annotation or _annotation_of_parameter(member, owner)
    if annotation and member.labels >= {"class-attribute"} and "instance-attribute" not in member.labels:
        annotation = f"ClassVar[{annotation}]"  # griffe keeps the word as a label only
    text = f": {annotation}" if annotation else ""
    if member.value is not None and not _is_set_by_init(member):
        text += f" = {member.value}"
    return Kind.FIELD, _one_line(text), ()


def _is_set_by_init(member: griffe.Attribute) -> bool:
    """Set on `self` in a method: its value is no part of the interface."""
    return "instance-attribute" in member.labels and "class-attribute" not in member.labels


def _annotation_of_parameter(member: griffe.Attribute, owner: griffe.Class | None) -> str | None:
    """The type of `self.x = x`, where `x` is a parameter of `__init__`."""
    init = owner.members.get("__init__") if owner else None
    name = str(member.value)
    if not (isinstance(init, griffe.Function) and _is_set_by_init(member) and name in init.parameters):
        return None
    annotation = init.parameters[name].annotation
    return None if annotation is None else str(annotation)


def _class_text(cls: griffe.Class) -> str:
    bases = ", ".join(str(base) for base in cls.bases)
    decorators = "".join(f" @{_one_line(str(decorator.value))}" for decorator in cls.decorators)
    return f"({bases}){decorators}" if bases else decorators


def _marks(function: griffe.Function) -> tuple[str, ...]:
    names = {str(decorator.value) for decorator in function.decorators}
    found = {
        "abstract": bool(names & _ABSTRACT),
        "final": "final" in names,
        "classmethod": "classmethod" in names,
        "staticmethod": "staticmethod" in names,
    }
    return tuple(mark for mark, is_set in found.items() if is_set)


def _one_line(text: str) -> str:
    return " ".join(text.split()) if "\n" in text else text


def _doc(member: griffe.Object | griffe.Alias) -> str:
    return member.docstring.value if member.docstring else ""
