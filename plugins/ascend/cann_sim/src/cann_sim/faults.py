"""Owns fault injection from Python. The grammar stands in `sources/common/faults.h` and in the README; the runtime reads it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from cann_sim.errors import FaultRuleError
from cann_sim.runtime import Runtime, of_this_process

__all__ = ["checked_rules", "faults", "set_faults"]

_REMEDY = "a rule reads PATTERN[@DEVICE][#WHEN]=ACTION, rules are parted by ';': 'aclnnMatmul#3=fail; Hccl*=timeout'"


def _raise_if(wrong: str, rules: str) -> None:
    if wrong:
        raise FaultRuleError(f"the fault rules {rules!r} cannot be read: {wrong}", remedy=_REMEDY)


def checked_rules(rules: str, runtime: Runtime) -> str:
    """The rules as they are; raises `FaultRuleError` where `runtime` cannot read them."""
    _raise_if(runtime.check_faults(rules), rules)
    return rules


def set_faults(rules: str) -> None:
    """Replaces the fault rules of this process, whose counts start again; "" removes them. Raises `FaultRuleError`, `NotActive`."""
    _raise_if(of_this_process().set_faults(rules), rules)


@contextmanager
def faults(rules: str) -> Iterator[None]:
    """Has the rules in force for a block; afterwards there are none."""
    set_faults(rules)
    try:
        yield
    finally:
        set_faults("")
