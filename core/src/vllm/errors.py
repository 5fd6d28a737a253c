"""Owns every error class that vLLM raises to its callers, and the one way an error text is put together.

An error says what happened (with the values), the likely cause, the remedy, and near candidates. All derive from
`VllmError`; those caused by a value the user gave are also `ValueError`. All survive pickling between processes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches

__all__ = [
    "BeyondLimitsError",
    "ConfigError",
    "DeviceError",
    "EngineDeadError",
    "EngineShutdownError",
    "InvalidRequestError",
    "ModelLoadError",
    "NoPlatformError",
    "OutOfMemoryError",
    "PlatformConflictError",
    "PluginError",
    "PluginVersionError",
    "QueueFullError",
    "RpcTimeoutError",
    "StepFailedError",
    "StepTimeoutError",
    "Unavailable",
    "VllmError",
    "WorkerDiedError",
    "WorkerError",
    "in_a_sentence",
    "near_names",
    "teach",
]


def near_names(name: str, known: Iterable[str], *, limit: int = 3, cutoff: float = 0.6) -> tuple[str, ...]:
    """The names of `known` that look like `name`, best first; case is ignored."""
    by_folded = {candidate.casefold(): candidate for candidate in known}
    close = get_close_matches(name.casefold(), by_folded, n=limit, cutoff=cutoff)
    return tuple(by_folded[folded] for folded in close)


def teach(what: str, *, cause: str | None = None, remedy: str | None = None, candidates: Iterable[str] = ()) -> str:
    """Render one error text: what happened, then one line each for cause, remedy and candidates where given."""
    names = ", ".join(candidates)
    parts = (("Likely cause", cause), ("Remedy", remedy), ("Did you mean", names and f"{names}?"))
    return "\n".join([what, *(f"  {label}: {text}" for label, text in parts if text)])


def in_a_sentence(error: BaseException) -> str:
    """What another error's text says of `error`: its class and message; of ours the first part, without its remedy."""
    return f"{type(error).__name__}: {error.what if isinstance(error, VllmError) else error}"


class VllmError(Exception):
    """Base of all our errors. `str(error)` is the whole lesson; `error.what` is its first part alone."""

    def __init__(
        self, what: str, *, cause: str | None = None, remedy: str | None = None, candidates: Iterable[str] = ()
    ) -> None:
        super().__init__(teach(what, cause=cause, remedy=remedy, candidates=candidates))
        self.what = what
        self.remedy = remedy


class ConfigError(VllmError, ValueError):
    """The configuration asks for something impossible here. Raised before weights are loaded."""


class InvalidRequestError(VllmError, ValueError):
    """One request asks for something impossible; the engine goes on serving the others.

    `parameter` names the offending field (the `param` of an HTTP error), where there is one.
    """

    def __init__(
        self,
        what: str,
        *,
        parameter: str | None = None,
        cause: str | None = None,
        remedy: str | None = None,
        candidates: Iterable[str] = (),
    ) -> None:
        super().__init__(what, cause=cause, remedy=remedy, candidates=candidates)
        self.parameter = parameter


class ModelLoadError(VllmError, ValueError):
    """A model folder, its config or its weights cannot be used."""


class NoPlatformError(VllmError, RuntimeError):
    """No hardware platform is usable; the text lists every candidate with its reason."""


class PlatformConflictError(VllmError, RuntimeError):
    """Several accelerators are usable and nothing says which one to take."""


class PluginError(VllmError, RuntimeError):
    """A plugin broke: it could not be imported, raised, or gave something that its contract does not allow."""


class PluginVersionError(PluginError):
    """A plugin does not fit this core's version; nothing of it was imported."""


class Unavailable(VllmError):
    """What a plugin's `register()` raises where its hardware or software is absent: why, and what would change it.

    `reason` is a clause that reads well after "not usable here: ", e.g. "libchip.so was not found in LD_LIBRARY_PATH".
    `probes` says what was looked for and what was found, for `vllm plugin doctor`; `vllm.plugins.Probes` collects them.
    """

    def __init__(self, reason: str, remedy: str | None = None, *, probes: Mapping[str, str] | None = None) -> None:
        super().__init__(reason, remedy=remedy)
        self.reason = reason
        self.probes = dict(probes or {})


class EngineDeadError(VllmError, RuntimeError):
    """The engine stopped for good; every request that was under way is lost."""


class EngineShutdownError(EngineDeadError):
    """The engine was told to stop, and did; a request that was under way is lost, and another server may answer it (HTTP 503)."""


class WorkerDiedError(EngineDeadError):
    """A worker process ended while it was needed; the text names it and its exit code."""


class WorkerError(VllmError, RuntimeError):
    """A worker could not do what it was asked to; names rank and stage."""


class DeviceError(WorkerError):
    """A device failed; names it, what it was doing, and the operator where the vendor's error tells it. The engine stops."""


class StepFailedError(WorkerError):
    """A step raised, and its worker is as it was before: a plan that starts anew may follow. The cause is what was raised."""


class StepTimeoutError(EngineDeadError, TimeoutError):
    """A step was not answered in time; the text names the step and the workers that are still at it."""


class RpcTimeoutError(WorkerError, TimeoutError):
    """A `collective_rpc` was not answered in time. The workers are still at it; steps that follow wait for them."""


class DuplicateRequestError(InvalidRequestError):
    """A request id is already alive in the engine."""


class QueueFullError(VllmError, RuntimeError):
    """Too many requests wait already; this one was not taken. The same request may succeed later (HTTP 503)."""


class OutOfMemoryError(VllmError, RuntimeError):
    """Host or device memory does not suffice; the text says how much was wanted, how much there is, and what to turn."""


class BeyondLimitsError(VllmError):
    """Work for a request took more time or memory than it may, and was ended. `what` reads well after "it": "takes longer than 5 s"."""
