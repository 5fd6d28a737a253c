"""Which version comes next."""

from __future__ import annotations

from pathlib import Path

import pytest
from packaging.version import Version

from ci.release.bump import asked_for, choose, kinds_of
from ci.release.refusal import Refused


@pytest.mark.parametrize(
    "released, kinds, wanted",
    [
        ("0.1.3", {"fixed"}, "0.1.4"),
        ("0.1.3", {"added", "changed"}, "0.1.4"),
        ("0.1.3", {"added", "breaking"}, "0.2.0"),
        ("0.1.3", {"removed"}, "0.2.0"),
        ("1.2.3", {"added"}, "1.2.4"),
        ("1.2.3", {"breaking"}, "2.0.0"),
    ],
)
def test_the_fragments_ask_for_a_version(released: str, kinds: set[str], wanted: str) -> None:
    assert asked_for(Version(released), kinds) == Version(wanted)


@pytest.mark.parametrize(
    "wish, released, coming, kinds, chosen",
    [
        (None, None, "0.1.0.dev0", {"added"}, "0.1.0"),
        (None, "0.1.0", "0.1.1.dev0", {"fixed"}, "0.1.1"),
        (None, "0.1.0", "0.1.1.dev0", {"breaking"}, "0.2.0"),
        (None, "0.1.0", "0.2.0.dev0", {"fixed"}, "0.2.0"),  # raised by hand: not gone below
        ("minor", "0.1.0", "0.1.1.dev0", {"fixed"}, "0.2.0"),
        ("major", "0.1.0", "0.1.1.dev0", {"fixed"}, "1.0.0"),
        ("0.1.1", "0.1.0", "0.1.1.dev0", set(), "0.1.1"),  # nothing changed, and it is wished
        ("0.2.0rc1", "0.1.0", "0.2.0.dev0", {"breaking"}, "0.2.0rc1"),
    ],
)
def test_a_version_is_chosen(wish: str | None, released: str | None, coming: str, kinds: set[str], chosen: str) -> None:
    last = Version(released) if released else None
    assert choose(wish, released=last, coming=Version(coming), kinds=kinds) == Version(chosen)


@pytest.mark.parametrize(
    "wish, released, kinds, told",
    [
        (None, "0.1.0", set(), "no changelog fragment"),
        ("patch", "0.1.0", {"breaking"}, r"0\.1\.1 is too low: the lowest version that fits is 0\.2\.0"),
        ("0.1.0", "0.1.0", {"fixed"}, "too low"),
        ("0.1.1.dev3", "0.1.0", {"fixed"}, "development version"),
        ("0.1.1+mine", "0.1.0", {"fixed"}, "development version"),
        ("0.2", "0.1.0", {"fixed"}, r"0\.2 is not of the form X\.Y\.Z .*\n.*release 0\.2\.0"),
        ("0.2.0.post1", "0.1.0", {"fixed"}, "not of the form"),
        ("1!0.2.0", "0.1.0", {"fixed"}, "not of the form"),
        ("minor", None, {"added"}, "there is no release yet"),
        ("newest", "0.1.0", {"added"}, "'newest' is no version"),
    ],
)
def test_what_makes_no_sense_is_refused(wish: str | None, released: str | None, kinds: set[str], told: str) -> None:
    last = Version(released) if released else None
    with pytest.raises(Refused, match=told):
        choose(wish, released=last, coming=Version("0.1.1.dev0"), kinds=kinds)


def test_a_fragment_that_towncrier_would_pass_over_is_refused() -> None:
    assert kinds_of([Path("7.added.md"), Path("7-parsers.fixed.md")]) == {"added", "fixed"}
    for name in ("7.md", "7.improved.md"):
        with pytest.raises(Refused, match="has no known kind"):
            kinds_of([Path(name)])
