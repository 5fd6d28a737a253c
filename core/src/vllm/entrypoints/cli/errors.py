"""Owns what the command line adds to vLLM's errors: one that means "the command was written wrongly" (exit status 2)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from vllm.errors import VllmError

__all__ = ["UsageError", "as_usage_errors"]


class UsageError(VllmError, ValueError):
    """The command line, or its `--config` file, cannot be understood. Nothing was started."""


@contextmanager
def as_usage_errors() -> Iterator[None]:
    """Errors about values that the user wrote become usage errors, word for word."""
    try:
        yield
    except UsageError:
        raise
    except (VllmError, OSError) as error:
        raise UsageError(str(error)) from error
