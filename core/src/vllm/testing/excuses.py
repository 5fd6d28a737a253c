"""Owns the only excuse: a feature that the law needs and that the platform declines, with a reason."""

from __future__ import annotations

from vllm.platforms.capabilities import Feature, Support
from vllm.platforms.interface import Platform
from vllm.testing.law import Law, LawBroken

__all__ = ["excuse"]


def excuse(law: Law, platform: Platform) -> str | None:
    """Why the platform need not keep this law; None where it must.

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
            return f"{feature.words}: {capability}"
        if feature is Feature.TENSOR_PARALLEL and platform.device_count() < 2:
            return f"{feature.words}: device_count() is {platform.device_count()} here, and this law needs two"
    return None
