"""Owns why a law is not checked: the platform declines a feature, with a reason; or this machine has too few devices."""

from __future__ import annotations

from dataclasses import dataclass

from vllm.platforms.capabilities import Support
from vllm.platforms.interface import Platform
from vllm.testing.law import Law, LawBroken
from vllm.testing.report import Status

__all__ = ["Excuse", "excuse"]


@dataclass(frozen=True, slots=True)
class Excuse:
    """`status` is EXCUSED or NOT_TESTABLE; nobody knows in either case whether the law would hold."""

    status: Status
    why: str


def excuse(law: Law, platform: Platform) -> Excuse | None:
    """Why the platform need not keep this law here; None where it must.

    Raises:
        LawBroken: it declines a feature without saying why; silence is no excuse.
    """
    for feature in law.needs:
        capability = platform.capability(feature)
        if capability.support is Support.UNKNOWN:
            raise LawBroken(
                f"{platform.name}.capabilities() says nothing about {feature.words}: declare it full, or decline it with a reason"
            )
        if not capability.is_usable:
            return Excuse(Status.EXCUSED, f"{feature.words}: {capability}")
    count = platform.device_count() if law.devices > 1 else 1
    if count < law.devices:
        return Excuse(Status.NOT_TESTABLE, f"device_count() is {count} here, and this law needs {law.devices}")
    return None
