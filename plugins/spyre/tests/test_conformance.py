"""The conformance kit under the backend `eager`: what is not declined in `capabilities()` must hold."""

from __future__ import annotations

from vllm.testing import PlatformConformance


class TestSpyre(PlatformConformance):
    """Fixed shapes and left padding change no answer."""

    platform = "spyre"
