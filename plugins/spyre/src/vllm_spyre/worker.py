"""The worker: the core's, which tells the backend when it ends."""

from __future__ import annotations

from vllm.worker.torch_worker import TorchWorker
from vllm_spyre.runner import SpyreModelRunner

__all__ = ["SpyreWorker"]


class SpyreWorker(TorchWorker):
    """One rank."""

    _has_backend = False

    def _load_model(self) -> None:
        super()._load_model()
        self._has_backend = True

    def _shutdown(self) -> None:
        """The first rank's report speaks for all: their graphs have the same shapes."""
        if self._has_backend and self.rank == 0:
            assert isinstance(self.runner, SpyreModelRunner)
            self.runner.compile_backend.at_shutdown()
        super()._shutdown()
