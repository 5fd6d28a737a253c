"""Owns how an exception crosses from a worker to the engine: with its class, its message, its rank and its traceback."""

from __future__ import annotations

import pickle
import traceback
from dataclasses import dataclass

from vllm.errors import WorkerError

__all__ = ["PackedError", "RemoteTraceback", "pack_error", "unpack_error", "unpack_refusal"]


class RemoteTraceback(Exception):
    """The traceback in the worker, shown as the cause of the error raised here."""

    def __init__(self, worker: str, text: str) -> None:
        super().__init__(f"in {worker}:\n{text}")


@dataclass(frozen=True, slots=True)
class PackedError:
    """An exception as data."""

    pickled: bytes | None
    """None where the class cannot be rebuilt in another process."""
    description: str
    """Class and message."""
    traceback: str


def pack_error(error: BaseException) -> PackedError:
    """Never raises, whatever the class."""
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    return PackedError(_pickled(error), f"{type(error).__name__}: {error}", text)


def unpack_error(packed: PackedError, worker: str) -> BaseException:
    """The exception with `worker` ("Worker 1 (pid N)") in its message and the remote traceback as its cause."""
    error = _unpickled(packed.pickled)
    if error is None:
        error = WorkerError(f"{worker} raised {packed.description}")
    else:
        _name_worker(error, worker)
    error.__cause__ = RemoteTraceback(worker, packed.traceback)
    return error


def unpack_refusal(packed: PackedError, worker: str) -> BaseException:
    """The same for an error that is an answer, not a failure: its text goes to a user, who need not know where it was written."""
    error = _unpickled(packed.pickled)
    return unpack_error(packed, worker) if error is None else error


def _pickled(error: BaseException) -> bytes | None:
    """The pickle, if it can be read again: a class whose __init__ wants other arguments than `args` cannot."""
    try:
        pickled = pickle.dumps(error)
        return pickled if type(pickle.loads(pickled)) is type(error) else None
    except Exception:  # noqa: BLE001 - a foreign class's own pickling may raise anything; its text travels instead
        return None


def _unpickled(pickled: bytes | None) -> BaseException | None:
    """The exception; None where its class is not known in this process."""
    if pickled is None:
        return None
    try:
        error: BaseException = pickle.loads(pickled)
        return error
    except Exception:  # noqa: BLE001 - as above
        return None


def _name_worker(error: BaseException, worker: str) -> None:
    """Add the worker to a plain text message; other arguments (errno, key) are left as they are, the cause names the worker."""
    match error.args:
        case (str(text),) if not isinstance(error, KeyError):
            error.args = (f"{text}\n  Raised by: {worker}",)
