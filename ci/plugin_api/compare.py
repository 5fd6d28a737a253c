"""Two states of the interface, compared: each difference with its verdict, additive or breaking for a plugin."""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ci.plugin_api.items import Item, Kind
from ci.plugin_api.signatures import Difference, signature_differences

__all__ = ["Change", "compare"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One difference. `is_breaking`: a plugin that was right before may be wrong now."""

    item: Item
    """As it is now; as it was, where it is gone."""
    what: str
    is_breaking: bool

    is_new_duty: bool = False
    """Every subclass must define it from now on."""

    def __str__(self) -> str:
        return f"{self.item.path}: {self.what}"


def compare(before: Sequence[Item], after: Sequence[Item]) -> list[Change]:
    """What is gone, what changed, what is new; members of a class that is itself gone or new are not told one by one."""
    old, new = _by_path(before), _by_path(after)
    gone = [item for item in before if item.path not in new and _is_told(item, new)]
    come = [item for item in after if item.path not in old and _is_told(item, old)]
    return [
        *(_removal(item, come, new) for item in gone),
        *(change for item in before if item.path in new for change in _changes(item, new[item.path], old, new)),
        *_reordered(old, new),
        *(_addition(item, old) for item in come),
    ]


def _is_told(item: Item, others: Mapping[str, Item]) -> bool:
    """Whether its class is a class in the other state too: else the class's own line says it all."""
    return item.owner is None or (item.parent in others and others[item.parent].kind is Kind.CLASS)


def _by_path(items: Iterable[Item]) -> dict[str, Item]:
    return {item.path: item for item in items}


def _removal(item: Item, come: Iterable[Item], new: Mapping[str, Item]) -> Change:
    base = _inherited(item, new)
    if base is not None:
        return Change(item=item, what=f"now inherited from {base.parent}", is_breaking=False)
    alike = [other for other in come if (other.parent, other.kind, other.text) == (item.parent, item.kind, item.text)]
    what = f"was renamed to `{alike[0].name}`" if alike and item.text else "was removed"
    return Change(item=item, what=what, is_breaking=True)


def _inherited(item: Item, new: Mapping[str, Item]) -> Item | None:
    """The same member of a base class that is under the lock too."""
    owner = new.get(item.parent) if item.owner else None
    if owner is None:
        return None
    bases = {name.partition("[")[0].rpartition(".")[2] for name in _bases(owner)}
    same = (other for other in new.values() if other.owner in bases and other.line == item.line)
    return next(same, None)


def _addition(item: Item, old: Mapping[str, Item]) -> Change:
    owner = old.get(item.parent)
    if owner is not None and item.is_abstract:
        return Change(item=item, what="is a new mandatory method", is_breaking=True, is_new_duty=True)
    if owner is not None and item.kind is Kind.FIELD and "NamedTuple" in _bases(owner):
        return Change(item=item, what="is a new field of a tuple, which no longer unpacks as before", is_breaking=True)
    if owner is not None and _must_be_given(item, owner):
        return Change(item=item, what="is a new field without a default", is_breaking=True)
    return Change(item=item, what="is new", is_breaking=False)


def _must_be_given(item: Item, owner: Item) -> bool:
    """To the constructor of a message, or by a subclass of a contract."""
    declared = "@dataclass" in owner.text or item.text.startswith(": ClassVar[")
    return item.kind is Kind.FIELD and declared and " = " not in item.text


def _changes(before: Item, after: Item, old: Mapping[str, Item], new: Mapping[str, Item]) -> Iterator[Change]:
    if before == after or _definition(before, old).line == _definition(after, new).line:
        return  # the same, perhaps defined elsewhere now and still found here
    duty = after.is_abstract and not before.is_abstract
    for found in _differences(before, after, old, new):
        yield Change(item=after, what=found.what, is_breaking=found.is_breaking, is_new_duty=duty)


def _definition(item: Item, items: Mapping[str, Item]) -> Item:
    """What an export leads to; any other item itself."""
    return items.get(item.text.removeprefix(" = "), item) if item.kind is Kind.EXPORT else item


def _differences(before: Item, after: Item, old: Mapping[str, Item], new: Mapping[str, Item]) -> Iterator[Difference]:
    if before.kind is not after.kind:
        what = f"was a {before.kind.value} and is a {after.kind.value} now"
        yield Difference(what=what, is_breaking=True)
        return
    yield from _mark_differences(before, after)
    if before.kind is Kind.FUNCTION:
        overridable = _is_overridable(after, old)
        yield from signature_differences(before.text, after.text, is_overridable=overridable)
    elif before.kind is Kind.CLASS:
        yield from _class_differences(before, after, new)
    elif before.text != after.text:
        yield from _value_differences(before, after)


def _mark_differences(before: Item, after: Item) -> Iterator[Difference]:
    for mark in sorted({*before.marks, *after.marks}):
        if mark in before.marks and mark not in after.marks:
            relaxed = mark in ("abstract", "final")
            what = "is no longer mandatory" if mark == "abstract" else f"is no longer {mark}"
            yield Difference(what=what, is_breaking=not relaxed)
        elif mark not in before.marks:
            what = "is mandatory now" if mark == "abstract" else f"is {mark} now"
            yield Difference(what=what, is_breaking=True)


def _class_differences(before: Item, after: Item, new: Mapping[str, Item]) -> Iterator[Difference]:
    lost = [base for base in _bases(before) if base not in _bases(after)]
    gained = [base for base in _bases(after) if base not in _bases(before)]
    if lost or gained:
        what = f"its bases ({', '.join(_bases(before))}) became ({', '.join(_bases(after))})"
        yield Difference(what=what, is_breaking=bool(lost))
    for base in gained:
        if duty := _duty_of(base, after, new):
            yield Difference(what=f"its new base {base} {duty}", is_breaking=True)
    had, has = (item.text.partition(" @")[2] for item in (before, after))
    if had != has:
        yield Difference(what=f"its decorators `{had}` became `{has}`", is_breaking=True)


def _duty_of(base: str, heir: Item, new: Mapping[str, Item]) -> str | None:
    """What a base class may ask of the heir's subclasses that they do not know of; None where nothing."""
    name = base.partition("[")[0].rpartition(".")[2]
    if name in ("ABC", "Generic") or name in vars(builtins):
        return None
    homes = [item for item in new.values() if item.kind is Kind.CLASS and item.name == name]
    if not homes:
        return "is outside the interface: nobody sees what it asks"
    own = {item.name for item in new.values() if item.parent == heir.path}
    asked = [item.name for item in new.values() if item.parent == homes[0].path and item.is_abstract]
    missing = [each for each in asked if each not in own]
    return f"makes {', '.join(missing)} mandatory" if missing else None


def _reordered(old: Mapping[str, Item], new: Mapping[str, Item]) -> Iterator[Change]:
    """Fields that are given or unpacked by their places, in other places."""
    for path, owner in new.items():
        if path not in old or not _has_places(owner):
            continue
        before, after = (
            [item.name for item in items.values() if item.parent == path and item.kind is Kind.FIELD]
            for items in (old, new)
        )
        if [name for name in before if name in after] != [name for name in after if name in before]:
            what = f"the order of its fields ({', '.join(before)}) became ({', '.join(after)})"
            yield Change(item=owner, what=what, is_breaking=True)


def _has_places(owner: Item) -> bool:
    """Whether the class is a tuple, or a message whose fields can be given by position."""
    is_message = "@dataclass" in owner.text and "kw_only=True" not in owner.text
    return owner.kind is Kind.CLASS and (is_message or "NamedTuple" in _bases(owner))


def _value_differences(before: Item, after: Item) -> Iterator[Difference]:
    (old_type, _, old_value), (new_type, _, new_value) = (each.text.partition(" = ") for each in (before, after))
    if old_type != new_type:
        what = f"its type `{old_type.lstrip(':-> ')}` became `{new_type.lstrip(':-> ')}`"
        yield Difference(what=what, is_breaking=True)
    if old_value != new_value:
        what = f"its value `{old_value or 'none'}` became `{new_value or 'none'}`"
        yield Difference(what=what, is_breaking=bool(old_value))


def _is_overridable(item: Item, items: Mapping[str, Item]) -> bool:
    """Whether a plugin may have an override: methods of classes that it subclasses, unless they are final."""
    owner = items.get(item.parent) if item.owner else None
    if owner is None or {"final", "classmethod", "staticmethod"} & set(item.marks):
        return False
    bases = _bases(owner)
    return "@dataclass" not in owner.text and not any(base.endswith(("Enum", "Error")) for base in bases)


def _bases(item: Item) -> list[str]:
    """The base classes' texts; commas inside brackets part nothing."""
    inside = item.text.partition(" @")[0].strip("()")
    depth, found = 0, [""]
    for character in inside:
        depth += (character == "[") - (character == "]")
        if character == "," and depth == 0:
            found.append("")
        else:
            found[-1] += character
    return [name.strip() for name in found if name.strip()]
