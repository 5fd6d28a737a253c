"""What the front and the engine core say to each other. Between processes it travels as MessagePack; in one process, as it is.

Requests and steps are plain data. What holds Python objects of any kind (the configuration, a call's arguments and result,
an error) travels pickled: both ends are this program, and nobody else can reach the socket.
"""

from __future__ import annotations

import msgspec

from vllm.engine.scheduler.interface import SchedulerStats
from vllm.messages import EngineRequest, EngineStepOutput, FinishReason

__all__ = ["Abort", "Add", "Call", "Died", "FromCore", "Refused", "Returned", "Started", "Stepped", "Stop", "ToCore"]


class Add(msgspec.Struct, tag="add", frozen=True):
    """Begin the outputs of one user's request: all of them, or none (see `Refused`)."""

    requests: list[EngineRequest]


class Abort(msgspec.Struct, tag="abort", frozen=True):
    """End outputs by their engine ids; unknown ones are ignored."""

    request_ids: list[str]
    reason: FinishReason


class Call(msgspec.Struct, tag="call", frozen=True):
    """Call a method of the engine core between two steps; `Returned` answers it."""

    number: int
    call: bytes
    """Pickle of (function of EngineCore, args, kwargs)."""


class Stop(msgspec.Struct, tag="stop", frozen=True):
    """Shut the core down."""


class Started(msgspec.Struct, tag="started", frozen=True):
    """The core takes requests."""

    config: bytes
    """Pickle of the complete VllmConfig: the core has sized the cache."""


class Stepped(msgspec.Struct, tag="stepped", frozen=True):
    """What one step gave, and the scheduler's numbers after it."""

    output: EngineStepOutput | None
    stats: SchedulerStats


class Refused(msgspec.Struct, tag="refused", frozen=True):
    """The core did not take an `Add`; none of its outputs runs."""

    request_ids: list[str]
    error: bytes
    """Pickle of a PackedError."""


class Returned(msgspec.Struct, tag="returned", frozen=True):
    """The answer to `Call`."""

    number: int
    value: bytes
    """Pickle of the result, or of a PackedError if `failed`."""
    failed: bool


class Died(msgspec.Struct, tag="died", frozen=True):
    """The last message of a core that cannot go on."""

    error: bytes
    """Pickle of a PackedError."""


ToCore = Add | Abort | Call | Stop
FromCore = Started | Stepped | Refused | Returned | Died
