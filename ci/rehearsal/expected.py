"""Owns what the matrix must find in the scene, cell by cell, and how what it found differs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from ci.matrix.results import Result, Status

__all__ = ["BROKEN", "TABLE", "differences"]

_PASS, _FAIL, _REFUSED = Status.PASSED, Status.FAILED, Status.EXCUSED
_CORES = ("0.1.0", "0.2.0", "0.3.0", "tree")
_ROWS = {
    ("cpu_ref", "0.1.0"): (_PASS, _REFUSED, _REFUSED, _REFUSED),
    ("cpu_ref", "0.2.0"): (_PASS, _PASS, _PASS, _PASS),
    ("cpu_ref", "tree"): (_PASS, _PASS, _PASS, _PASS),
    ("toy", "0.1.0"): (_PASS, _PASS, _FAIL, _FAIL),
    ("toy", "0.1.1"): (_REFUSED, _PASS, _PASS, _PASS),
    ("toy", "tree"): (_REFUSED, _PASS, _PASS, _PASS),
}
TABLE: Mapping[tuple[str, str, str], Status] = MappingProxyType(
    {(*plugin, core): status for plugin, row in _ROWS.items() for core, status in zip(_CORES, row, strict=True)}
)
"""(package, its release, core) → how the cell ends."""

BROKEN = "device_label"
"""What a failing cell must name: the method that core 0.3.0 no longer has."""

_SENTENCE = "wants vllm-core"
"""Of discovery's refusal, in every excused cell."""


def differences(results: Iterable[Result]) -> Iterator[str]:
    """One line for every cell that is not there, should not be there, or ended in another way or for another reason."""
    found = {(each.package, each.release, each.core): each for each in results}
    for key in sorted(TABLE.keys() | found.keys()):
        name = "{} {} on core {}".format(*key)
        wanted, row = TABLE.get(key), found.get(key)
        if row is None:
            yield f"{name}: not there"
        elif wanted is None:
            yield f"{name}: not expected"
        elif row.status is not wanted:
            yield f"{name}: {row.status.value} instead of {wanted.value}: {row.why}"
        elif _reason(wanted) not in _said(row):
            yield f"{name}: {wanted.value}, but does not say {_reason(wanted)!r}: {_said(row)}"


def _reason(status: Status) -> str:
    return {_FAIL: BROKEN, _REFUSED: _SENTENCE}.get(status, "")


def _said(row: Result) -> str:
    return " ".join([row.why, *(f"{law.law}: {law.why}" for law in row.broken)])
