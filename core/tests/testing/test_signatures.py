"""What the kit finds in classes that do not fit their contract."""

from __future__ import annotations

import abc
import sys
from typing import final

import pytest

from vllm.testing.signatures import complaints_about


class Contract(abc.ABC):
    @abc.abstractmethod
    def must(self, number: int, *, name: str = "") -> None: ...

    def may(self, first: int, second: int = 0) -> None: ...

    @final
    def public(self) -> None: ...


class Fits(Contract):
    def must(self, number: int, *, name: str = "", more: int = 0) -> None: ...

    def may(self, first: int, second: int = 1, *extra: int) -> None: ...


class Abstract(Contract):
    pass


class Narrow(Contract):
    def must(self, number: int) -> None: ...  # type: ignore[override]

    def may(self, first: int) -> None: ...  # type: ignore[override]


class Renamed(Fits):
    def must(self, count: int, *, name: str = "", more: int = 0) -> None: ...  # type: ignore[override]


class Bold(Fits):
    def public(self) -> None: ...  # type: ignore[misc]


def test_what_fits_is_not_complained_about() -> None:
    assert complaints_about(Fits, Contract) == []


def test_what_is_missing_is_named() -> None:
    assert complaints_about(Abstract, Contract) == ["Abstract lacks must"]


def test_calls_that_the_contract_allows_must_be_possible() -> None:
    complaints = complaints_about(Narrow, Contract)
    assert [text.partition("(")[0] for text in complaints] == ["Narrow.must", "Narrow.may"]
    assert "unexpected keyword argument 'name'" in complaints[0] and "too many positional" in complaints[1]


def test_a_renamed_argument_cannot_be_given_by_name() -> None:
    (complaint,) = complaints_about(Renamed, Contract)
    assert complaint.startswith("Renamed.must") and "missing a required argument: 'count'" in complaint


@pytest.mark.skipif(sys.version_info < (3, 11), reason="final leaves no trace before 3.11")
def test_final_methods_are_the_contracts() -> None:
    assert complaints_about(Bold, Contract) == ["Bold.public replaces a final method of Contract; implement _public"]
