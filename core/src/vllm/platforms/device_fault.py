"""Owns what a platform says of an error that its device raised: the vendor's text in words that help."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DeviceFault"]


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceFault:
    """One failure of a device. The core adds the step and the rank, raises it as DeviceError, and the engine stops."""

    what: str
    """A clause that names the device and, where the error tells it, the operator: "chip:0 (X100) failed in matmul"."""
    cause: str | None = None
    """The vendor's words or error code, and what they mean."""
    remedy: str | None = None
