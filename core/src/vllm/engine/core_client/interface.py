"""Owns `CoreClient`: how a front drives an engine core that runs elsewhere. Commands go out at once, messages come back to one receiver."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import TYPE_CHECKING

from vllm.engine.core_client.messages import FromCore, ToCore

if TYPE_CHECKING:
    from vllm.config import VllmConfig

__all__ = ["CoreClient", "Receiver"]

Receiver = Callable[[FromCore], None]


class CoreClient(abc.ABC):
    """One engine core. Made: the core is starting. `wait_until_ready`, then `listen` on an event loop, then `send`."""

    @abc.abstractmethod
    def wait_until_ready(self) -> VllmConfig:
        """Block until the core takes requests; gives the configuration, complete.

        Raises:
            VllmError: what the core raised at its start; EngineDeadError: its process ended without a word.
        """

    def give_up(self) -> None:
        """Let a core that is starting start no further, where it can be stopped: `wait_until_ready` raises. From any thread."""

    @abc.abstractmethod
    def listen(self, receiver: Receiver) -> None:
        """Hand every message to `receiver` from now on, on the running event loop, in order; at last `Died`, unless `close` came first."""

    @abc.abstractmethod
    def send(self, message: ToCore) -> None:
        """Hand a message to the core; never blocks. One that is dead ignores it: `Died` is on its way."""

    @abc.abstractmethod
    def close(self) -> None:
        """Stop the core and wait for its end; what runs is lost. May be called twice, from any thread, and at the program's end."""

    @property
    @abc.abstractmethod
    def description(self) -> str:
        """ "EngineCore (pid 123)", for errors."""
