"""Owns the calls of `LLM` for pooling models, which this release does not serve: each says so, where the name alone would not."""

from __future__ import annotations

from typing import Any, NoReturn

from vllm.errors import InvalidRequestError

__all__ = ["NoPooling"]


class NoPooling:
    """What `LLM` answers to who asks for vectors, classes or scores: InvalidRequestError. Pooling models come in a later release."""

    def encode(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refused."""
        _refuse("encode")

    def embed(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refused."""
        _refuse("embed")

    def classify(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refused."""
        _refuse("classify")

    def reward(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refused."""
        _refuse("reward")

    def score(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refused."""
        _refuse("score")


def _refuse(method: str) -> NoReturn:
    raise InvalidRequestError(
        f"LLM.{method} needs a pooling model, and this release only generates text. Use LLM.generate or LLM.chat, or serve this model "
        "with an engine that embeds."
    )
