"""Shims of the plugin interface: the old form works, warns once where it is written, and says what to write."""

from __future__ import annotations

import abc
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from vllm import deprecation
from vllm.deprecation import InterfaceDeprecationWarning, deprecated, moved_name, old_override, renamed_parameter


@pytest.fixture(autouse=True)
def nothing_warned_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deprecation, "_warned", set())


@pytest.fixture
def told() -> Iterator[list[warnings.WarningMessage]]:
    """The warnings of the test; all are recorded, none is shown."""
    with warnings.catch_warnings(record=True) as recorded:
        warnings.simplefilter("always")
        yield recorded


def texts(told: list[warnings.WarningMessage]) -> list[str]:
    assert all(each.category is InterfaceDeprecationWarning for each in told)
    return [str(each.message) for each in told]


def test_a_deprecated_function_works_and_warns_once_at_the_callers_line(told: list[warnings.WarningMessage]) -> None:
    @deprecated(instead="memory_info()", goes_in="0.3")
    def total_memory(device_id: int = 0) -> int:
        """Bytes."""
        return 7 + device_id

    assert [total_memory(), total_memory(device_id=1)] == [7, 8]
    assert total_memory.__doc__ == "Bytes."
    (text,) = texts(told)
    assert text.endswith(
        "total_memory() is deprecated. Remedy: use memory_info(); the old form works until vllm-core 0.3."
    )
    assert told[0].filename == __file__


def test_a_renamed_parameter_may_have_its_old_name(told: list[warnings.WarningMessage]) -> None:
    @renamed_parameter("dev", "device_id", goes_in="0.3")
    def name(device_id: int = 0) -> str:
        return f"chip {device_id}"

    assert name(device_id=1) == name(1) == "chip 1"
    assert told == []
    assert name(dev=2) == "chip 2"  # type: ignore[call-arg]
    (text,) = texts(told)
    assert "Remedy: write device_id=; the old form works until vllm-core 0.3." in text
    with pytest.raises(TypeError, match="got 'device_id' twice: also under its former name 'dev'"):
        name(dev=2, device_id=2)  # type: ignore[call-arg]


def contract() -> type:
    """A contract whose method has just got the parameter `device_id`, as the core passes it now."""

    @old_override("memory_info", lacks="device_id", goes_in="0.3")
    class Contract(abc.ABC):
        @abc.abstractmethod
        def memory_info(self, *, device_id: int = 0) -> int: ...

    return Contract


def test_an_old_override_is_called_without_the_parameter_it_lacks(told: list[warnings.WarningMessage]) -> None:
    class Old(contract()):  # type: ignore[misc]
        def memory_info(self) -> int:
            return 5

    assert Old().memory_info(device_id=3) == 5
    (text,) = texts(told)
    assert "Old.memory_info() does not take 'device_id', which vLLM passes now" in text
    source = Path(told[0].filename).read_text().splitlines()
    assert source[told[0].lineno - 1].strip() == "def memory_info(self) -> int:"


def test_an_override_that_follows_is_left_alone(told: list[warnings.WarningMessage]) -> None:
    class New(contract()):  # type: ignore[misc]
        def memory_info(self, *, device_id: int = 0) -> int:
            return 5 + device_id

    class TakesAnything(contract()):  # type: ignore[misc]
        def memory_info(self, **kwargs: int) -> int:
            return sum(kwargs.values())

    class Heir(New):
        """Defines nothing itself."""

    assert [each().memory_info(device_id=3) for each in (New, TakesAnything, Heir)] == [8, 3, 8]
    assert told == []


def test_two_shims_and_the_contracts_own_hook_all_run(told: list[warnings.WarningMessage]) -> None:
    seen: list[str] = []

    @old_override("b", lacks="y", goes_in="0.3")
    @old_override("a", lacks="x", goes_in="0.3")
    class Contract:
        def __init_subclass__(cls, **kwargs: object) -> None:
            seen.append(cls.__name__)

    class Old(Contract):
        def a(self) -> str:
            return "a"

        def b(self) -> str:
            return "b"

    assert Old().a(x=1) + Old().b(y=2) == "ab"  # type: ignore[call-arg]
    assert seen == ["Old"]
    assert len(texts(told)) == 2


def test_a_name_that_moved_is_still_found_where_it_was(told: list[warnings.WarningMessage]) -> None:
    module = ModuleType("scratch_module")

    def lookup(name: str) -> object:
        if name == "Old":
            return moved_name("scratch_module", name, int, instead="elsewhere.New", goes_in="0.3")
        raise AttributeError(name)

    module.__getattr__ = lookup  # type: ignore[method-assign]
    assert module.Old is int
    assert texts(told) == [
        "scratch_module.Old has moved. Remedy: import elsewhere.New; the old form works until vllm-core 0.3."
    ]
    assert told[0].filename == __file__
