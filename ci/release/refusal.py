"""Owns the one way in which a release is refused: what is wrong, and what to do."""

from __future__ import annotations

__all__ = ["Refused"]


class Refused(RuntimeError):
    """No release can be cut like this. The message says why, with values, and the remedy."""

    def __init__(self, what: str, *, remedy: str) -> None:
        super().__init__(f"{what}.\n  Remedy: {remedy}.")
