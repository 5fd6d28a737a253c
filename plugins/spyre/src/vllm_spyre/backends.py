"""Owns how the name of a backend becomes something that compiles: the one place that imports vendor software."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vllm.errors import ConfigError

if TYPE_CHECKING:
    from vllm.config import VllmConfig
    from vllm.errors import WorkerError
    from vllm.worker.step_inputs import StepInputs

__all__ = ["Backend", "create_backend"]


def _nothing() -> None:
    """Nobody wants to know."""


def _as_it_is(made: WorkerError, shape: str, found: Exception | None) -> WorkerError:
    """Nothing to add."""
    del shape, found
    return made


@dataclass(frozen=True, kw_only=True)
class Backend:
    """What `torch.compile(backend=…)` takes, and who else wants to hear of it."""

    name: str
    compiler: str | Callable[..., Any] | None
    """None: steps run as written."""
    keeps_programs: bool = False
    """Whether a later start finds what this one has compiled."""
    after_warm_up: Callable[[], None] = _nothing
    """Called once every shape is compiled."""
    at_step: Callable[[StepInputs], None] | None = None
    """Called before each step after warm-up."""
    at_shutdown: Callable[[], None] = _nothing
    """Called once, on the first rank."""
    explain: Callable[[WorkerError, str, Exception | None], WorkerError] = _as_it_is
    """(our error, the step's shape, torch's error) → the error to raise, where the backend knows more."""


def create_backend(name: str, config: VllmConfig) -> Backend:
    """The backend that `VLLM_SPYRE_DYNAMO_BACKEND` names, for a worker of this engine.

    Raises:
        ConfigError: its software cannot be imported.
    """
    return _MAKERS[name](config)


def _sendnn(config: VllmConfig) -> Backend:
    """Importing the package registers the backend with torch."""
    del config
    try:
        import torch_sendnn  # type: ignore[import-not-found]  # noqa: F401
    except Exception as error:
        raise ConfigError(
            f"VLLM_SPYRE_DYNAMO_BACKEND is sendnn, but importing torch_sendnn failed: {type(error).__name__}: {error}",
            cause="a library of the card's software is missing or does not fit this torch",
            remedy="check its installation (`vllm plugin doctor`), or choose inductor, eager or checked for the CPU",
        ) from error
    return Backend(name="sendnn", compiler="sendnn", keeps_programs=True)


def _inductor(config: VllmConfig) -> Backend:
    del config
    return Backend(name="inductor", compiler="inductor", keeps_programs=True)


def _eager(config: VllmConfig) -> Backend:
    del config
    return Backend(name="eager", compiler=None)


def _checked(config: VllmConfig) -> Backend:
    del config
    from vllm_spyre.checked import checked_backend

    return checked_backend()


_MAKERS: dict[str, Callable[..., Backend]] = {
    "sendnn": _sendnn,
    "inductor": _inductor,
    "eager": _eager,
    "checked": _checked,
}
