"""How values are read: hand-computed numbers, and what is refused with which words."""

from __future__ import annotations

import pytest

from vllm.config.option_kinds import (
    NUMBER,
    SWITCH,
    Kind,
    choice,
    dotted,
    mapping,
    one_of_kinds,
    real,
    repeated,
    several,
    text,
    whole,
)

HUMAN = whole(at_least=1, human=True)


@pytest.mark.parametrize(
    "written, meant",
    [
        ("7", 7),
        (7, 7),
        ("1k", 1000),
        ("1K", 1024),
        ("25.6k", 25600),
        ("32K", 32768),
        ("2m", 2_000_000),
        ("2M", 2_097_152),
        ("1g", 10**9),
        ("1G", 2**30),
        ("1.5t", 1_500_000_000_000),
        ("1T", 2**40),
        (" 3k ", 3000),
    ],
)
def test_human_numbers(written: object, meant: int) -> None:
    assert HUMAN.read(written) == meant


@pytest.mark.parametrize(
    "written", ["25.6K", "1.0001k", "k", "1kb", "", "2.5", "0", "-1k", True, 1.5, None, "1e3", "٣x"]
)
def test_no_human_number(written: object) -> None:
    with pytest.raises(ValueError, match="a whole number >= 1"):
        HUMAN.read(written)


def test_plain_numbers_take_no_suffix() -> None:
    plain = whole(at_least=0, at_most=9)
    assert [plain.read(value) for value in (0, "9", 3.0)] == [0, 9, 3]
    for wrong in ("1k", 10, -1, 2.5, True, "x"):
        with pytest.raises(ValueError, match="a whole number from 0 to 9"):
            plain.read(wrong)


def test_reals_and_their_open_end() -> None:
    share = real(above=0, at_most=1)
    assert share.read("0.5") == 0.5
    assert share.read(1) == 1.0
    for wrong in (0, 1.01, float("nan"), "x", True, None):
        with pytest.raises(ValueError, match="a number > 0 and <= 1"):
            share.read(wrong)
    assert real(above=0, or_equal=True).read(0) == 0.0


def test_numbers_without_limits() -> None:
    assert NUMBER.read("-1.5") == -1.5
    with pytest.raises(ValueError, match="a number"):
        NUMBER.read(True)


@pytest.mark.parametrize("written, meant", [(True, True), ("true", True), ("ON", True), ("no", False), (False, False)])
def test_switches(written: object, meant: bool) -> None:
    assert SWITCH.read(written) is meant


@pytest.mark.parametrize("written", ["maybe", 2, None, ""])
def test_no_switch(written: object) -> None:
    with pytest.raises(ValueError, match="true or false"):
        SWITCH.read(written)


def test_choices_and_their_other_names() -> None:
    dtype = choice("float16", "auto", others={"half": "float16", "-1": "auto"})
    assert [dtype.read(value) for value in ("float16", "half", -1, "-1")] == ["float16", "float16", "auto", "auto"]
    with pytest.raises(ValueError, match="one of float16, auto, half, -1"):
        dtype.read("float")


def test_mappings_are_json_or_dictionaries() -> None:
    assert mapping().read('{"a": {"b": 1}}') == {"a": {"b": 1}}
    assert mapping().read({"a": 1}) == {"a": 1}
    for wrong in ("{", "[1]", 3, None):
        with pytest.raises(ValueError, match="a JSON object or a dictionary"):
            mapping().read(wrong)


def test_a_mapping_may_be_a_function_where_that_is_meant() -> None:
    assert mapping(function_too=True).read(dict) is dict
    with pytest.raises(ValueError, match="JSON object"):
        mapping().read(dict)


def test_dotted_paths_and_classes() -> None:
    assert dotted().read("a.b:C") == "a.b:C"
    assert dotted().read(Kind) == "vllm.config.option_kinds.Kind"

    class Local:
        """Has no dotted path."""

    assert dotted(keeps_class=True).read(Local) is Local
    for wrong in (Local, "C", "a..C", "a.b-c", 3):
        with pytest.raises(ValueError, match="a dotted path"):
            dotted().read(wrong)


def test_several_take_one_or_many() -> None:
    sizes = several(whole(at_least=1), "whole numbers >= 1")
    assert sizes.read(["1", 2]) == (1, 2)
    assert sizes.read(3) == (3,)
    with pytest.raises(ValueError, match="whole numbers >= 1"):
        sizes.read([1, 0])
    assert repeated(text()).read("ab") == ("ab",)


def test_the_first_kind_that_can_read_a_value_does() -> None:
    length = one_of_kinds('a length or "auto"', choice("auto"), whole(at_least=1, human=True), placeholder="N")
    assert [length.read(value) for value in ("auto", "2k")] == ["auto", 2000]
    with pytest.raises(ValueError, match='a length or "auto"'):
        length.read("aut")
