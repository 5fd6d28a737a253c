"""What counts as breaking: each kind of change by itself, as two states of a small interface."""

from __future__ import annotations

import pytest

from ci.plugin_api.compare import Change, compare
from ci.plugin_api.items import parse, render

CONTRACT = """
class Contract(abc.ABC)
    field limit: int = 1
    abstract def must(rows: int) -> str
    final def entry(rows: int, deep: bool = False) -> str
    def may(rows: int = 0, *, wide: bool = True) -> str
    property size -> int
class Message(Base) @dataclass(frozen=True, kw_only=True)
    field rows: int
    field deep: bool
class Point @dataclass(frozen=True)
    field x: int
    field y: int
class Pair(NamedTuple)
    field left: int
    field right: int
class Helper
    def help() -> None
class Other
    def mine() -> None
class Trouble(Exception)
class Heir(Contract)
    def own() -> None
class Answer(Enum)
    field YES = 'yes'
def helper(path: str, *, deep: bool = False) -> int
"""


def changes(old: str, new: str) -> list[Change]:
    """The contract above, with one line replaced."""
    assert old in CONTRACT
    after = CONTRACT.replace(old, new)
    return compare(parse(f"module m{CONTRACT}"), parse(f"module m{after}"))


def only(old: str, new: str, *, is_breaking: bool) -> str:
    (change,) = (change for change in changes(old, new) if change.is_breaking or not is_breaking)
    assert change.is_breaking == is_breaking
    return str(change)


BREAKING = [
    ("    property size -> int\n", "", "m.Contract.size: was removed"),
    ("def helper(", "def helped(", "m.helper: was renamed to `helped`"),
    ("class Answer(Enum)\n    field YES = 'yes'\n", "", "m.Answer: was removed"),
    ("def must(rows: int)", "def must(lines: int)", "its parameter `rows: int` was renamed to `lines: int`"),
    ("def may(rows: int = 0, *,", "def may(*,", "its parameter `rows: int = 0` was removed"),
    ("def may(rows: int = 0", "def may(rows: int = 1", "its parameter `rows: int = 0` became `rows: int = 1`"),
    ("must(rows: int)", "must(rows: str)", "its parameter `rows: int` became `rows: str`"),
    ("must(rows: int) -> str", "must(rows: int) -> bytes", "its result `str` became `bytes`"),
    ("must(rows: int)", "must(rows: int, n: int)", "it has a new required parameter `n: int`"),
    ("must(rows: int)", "must(rows: int, n: int = 0)", "new parameter `n: int = 0`, which an override does not take"),
    ("entry(rows: int, deep: bool = False)", "entry(deep: bool = False, rows: int = 0)", "the order of its positional"),
    ("helper(path: str, *, deep", "helper(path: str, deep", "given as any instead of keyword"),
    ("    def may", "    abstract def may", "m.Contract.may: is mandatory now"),
    ("    def may", "    final def may", "m.Contract.may: is final now"),
    (
        "    property size",
        "    abstract def more() -> int\n    property size",
        "m.Contract.more: is a new mandatory method",
    ),
    ("    field limit", "    field label: ClassVar[str]\n    field limit", "label: is a new field without a default"),
    ("    field rows: int\n", "    field rows: int\n    field more: str\n", "more: is a new field without a default"),
    ("    field left: int\n", "    field left: int\n    field more: int\n", "more: is a new field of a tuple"),
    ("    field left: int\n", "    field left: int\n    field more: int = 0\n", "more: is a new field of a tuple"),
    (
        "    field left: int\n    field right: int\n",
        "    field right: int\n    field left: int\n",
        "m.Pair: the order of its fields (left, right) became (right, left)",
    ),
    (
        "    field x: int\n    field y: int\n",
        "    field y: int\n    field x: int\n",
        "m.Point: the order of its fields (x, y) became (y, x)",
    ),
    (
        "Heir(Contract)",
        "Heir(Contract, Mixin)",
        "its new base Mixin is outside the interface: nobody sees what it asks",
    ),
    ("class Other\n", "class Other(Contract)\n", "its new base Contract makes must mandatory"),
    ("    property size", "    abstract property size", "m.Contract.size: is mandatory now"),
    (
        "    property size",
        "    abstract property width -> int\n    property size",
        "m.Contract.width: is a new mandatory",
    ),
    ("limit: int = 1", "limit: int = 2", "its value `1` became `2`"),
    ("limit: int = 1", "limit: str = 1", "its type `int` became `str`"),
    ("size -> int", "size -> float", "its type `int` became `float`"),
    ("property size", "def size()", "was a property and is a def now"),
    ("Message(Base)", "Message", "its bases (Base) became ()"),
    ("kw_only=True", "kw_only=True, slots=True", "its decorators `dataclass(frozen=True, kw_only=True)` became"),
    ("YES = 'yes'", "YES = 'y'", "its value `'yes'` became `'y'`"),
]

ADDITIVE = [
    ("    property size", "    def more() -> int\n    property size", "m.Contract.more: is new"),
    ("    field rows: int\n", "    field rows: int\n    field more: int = 0\n", "m.Message.more: is new"),
    ("    field YES", "    field NO = 'no'\n    field YES", "m.Answer.NO: is new"),
    ("def helper", "def other() -> int\ndef helper", "m.other: is new"),
    ("helper(path: str,", "helper(path: str = '',", "its parameter `path: str` became `path: str = ''`"),
    ("deep: bool = False) -> str", "deep: bool = False, n: int = 0) -> str", "a new optional parameter `n: int = 0`"),
    ("    abstract def must", "    def must", "m.Contract.must: is no longer mandatory"),
    ("    final def entry", "    def entry", "m.Contract.entry: is no longer final"),
    ("Heir(Contract)", "Heir(Contract, Generic[T])", "its bases (Contract) became (Contract, Generic[T])"),
    ("Trouble(Exception)", "Trouble(Exception, ValueError)", "its bases (Exception) became (Exception, ValueError)"),
    ("Heir(Contract)", "Heir(Contract, Helper)", "its bases (Contract) became (Contract, Helper)"),
    ("field rows: int\n", "field rows: int = 0\n", "its value `none` became `0`"),
]


@pytest.mark.parametrize("old, new, what", BREAKING)
def test_breaking(old: str, new: str, what: str) -> None:
    assert what in only(old, new, is_breaking=True)


@pytest.mark.parametrize("old, new, what", ADDITIVE)
def test_additive(old: str, new: str, what: str) -> None:
    assert what in only(old, new, is_breaking=False)


def test_fields_that_are_given_by_name_have_no_order() -> None:
    rows, deep = "    field rows: int\n", "    field deep: bool\n"
    assert changes(rows + deep, deep + rows) == []


def test_a_new_class_is_told_once_and_its_duties_concern_nobody_yet() -> None:
    (change,) = changes("class Answer", "class New(abc.ABC)\n    abstract def must() -> int\nclass Answer")
    assert (change.is_breaking, str(change)) == (False, "m.New: is new")


def test_a_member_that_moved_to_a_base_class_is_still_there() -> None:
    """Only the base class's side of it is new."""
    found = changes("    def own() -> None\n", "")
    assert [change.is_breaking for change in found] == [True]
    moved = CONTRACT.replace("    def own() -> None\n", "").replace(
        "    property size", "    def own() -> None\n    property size"
    )
    found = compare(parse(f"module m{CONTRACT}"), parse(f"module m{moved}"))
    assert {(str(change), change.is_breaking) for change in found} == {
        ("m.Heir.own: now inherited from m.Contract", False),
        ("m.Contract.own: is new", False),
    }


def test_what_moved_and_is_still_found_under_its_name_did_not_change() -> None:
    before = parse(f"module m{CONTRACT}")
    after = [*parse("module m\nexport Contract = other.Contract"), *parse(f"module other{CONTRACT}")]
    found = [change for change in compare(before, after) if change.item.name == "Contract"]
    assert [(str(change), change.is_breaking) for change in found] == [("other.Contract: is new", False)]
    assert not any(change.item.owner for change in compare(before, after))


def test_a_new_duty_is_told_from_a_changed_signature() -> None:
    (changed,) = changes("must(rows: int)", "must(rows: str)")
    (added,) = changes("    property size", "    abstract def more() -> int\n    property size")
    (promoted,) = changes("    def may", "    abstract def may")
    assert [each.is_new_duty for each in (changed, added, promoted)] == [False, True, True]


def test_one_method_may_break_in_several_ways() -> None:
    found = changes("must(rows: int) -> str", "must(*, lines: int) -> bytes")
    assert all(change.is_breaking for change in found)
    assert [change.what for change in found] == [
        "its parameter `rows: int` was removed",
        "it has a new required parameter `lines: int`",
        "its result `str` became `bytes`",
    ]


def test_equal_states_differ_in_nothing() -> None:
    items = parse(f"module m{CONTRACT}")
    assert compare(items, items) == []
    assert parse(render(items)) == items


def test_a_line_that_is_no_entry_is_refused_with_its_number() -> None:
    with pytest.raises(ValueError, match="line 3 of the lock is no entry: 'clas X'"):
        parse("module m\nclass A\nclas X\n")
