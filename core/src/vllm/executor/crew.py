"""Owns the worker processes of one engine together: starting all of them, and leaving none behind."""

from __future__ import annotations

import os
import platform
import threading
import time
from typing import TYPE_CHECKING

from vllm import envs
from vllm.errors import ConfigError
from vllm.executor.main_module import main_path
from vllm.executor.os_process import child_environment, usable_cores
from vllm.executor.shared_board import BoardWriter
from vllm.executor.wire import Stop, encode
from vllm.executor.worker_handle import WorkerHandle
from vllm.executor.worker_process import Setup
from vllm.logger import init_logger

if TYPE_CHECKING:
    from vllm.config import VllmConfig

__all__ = ["Crew"]

logger = init_logger(__name__)

STOP_s = 3.0
"""Time for a worker that was told to stop: it leaves its groups and frees its device."""
KILL_s = 2.0


class Crew:
    """The processes, the board they read, and the file without a name through which they meet."""

    def __init__(self, config: VllmConfig) -> None:
        """Start all processes; `MultiprocExecutor` waits until they are ready."""
        _require_linux()
        ranks = config.parallel_config.world_size
        pickled = _pickled(config)
        environment = _environment(ranks)
        self._pid, self._ended = os.getpid(), False
        self._meeting_fd = os.memfd_create("vllm-ranks")
        self.board = BoardWriter(ranks)
        self.workers: list[WorkerHandle] = []
        try:
            for rank in range(ranks):
                self.workers.append(
                    WorkerHandle(rank, inherit=(self.board.fd, self._meeting_fd), environment=environment)
                )
            for worker in self.workers:
                self._introduce(worker, ranks, pickled)
        except BaseException:
            self.end(gently=False)
            raise

    def _introduce(self, worker: WorkerHandle, ranks: int, config: bytes) -> None:
        setup = Setup(
            name=worker.name,
            rank=worker.rank,
            ranks=ranks,
            board_fd=self.board.fd,
            engine_pid=self._pid,
            engine_on_main_thread=threading.current_thread() is threading.main_thread(),
            main_path=main_path(),
            init_method=f"file:///proc/self/fd/{self._meeting_fd}",  # inherited under the same number
            config=config,
        )
        with worker.named_if_dead("at its start"):
            worker.connection.send_bytes(b"".join(encode(setup)))

    def end(self, *, gently: bool) -> None:
        """End every process: told to stop if `gently`, then SIGKILL (SIGTERM is ignored). Only the first call does it, in the engine."""
        if self._ended or os.getpid() != self._pid:
            return
        self._ended, workers = True, self.workers
        if not (gently and self._tell_to_stop(workers) and _all_end(workers, STOP_s)):
            _kill(workers)
        for worker in workers:
            worker.connection.close()
        self.board.close()
        os.close(self._meeting_fd)

    def _tell_to_stop(self, workers: list[WorkerHandle]) -> bool:
        """Whether all could be told; a full board means that one hangs."""
        if not self.board.has_room():
            return False
        place = self.board.write(encode(Stop())).pack()
        for worker in workers:
            try:
                worker.connection.send_bytes(place)
            except OSError:  # it has ended
                continue
        return True


def _kill(workers: list[WorkerHandle]) -> None:
    for worker in workers:
        worker.process.kill()
    if not _all_end(workers, KILL_s):
        alive = ", ".join(str(worker) for worker in workers if not worker.has_ended)
        logger.error("%s did not end after SIGKILL: the kernel or a device driver holds it.", alive)


def _all_end(workers: list[WorkerHandle], within_s: float) -> bool:
    deadline_s = time.monotonic() + within_s
    return all(worker.wait(deadline_s - time.monotonic()) for worker in workers)


def _require_linux() -> None:
    if platform.system() != "Linux":
        raise ConfigError(
            f"Several workers need Linux (memfd, /proc); this is {platform.system()}.",
            remedy="tensor_parallel_size=1, which runs in the engine's own process",
        )


def _pickled(config: VllmConfig) -> bytes:
    try:
        return b"".join(encode(config))
    except Exception as error:
        raise ConfigError(
            f"The configuration cannot be sent to worker processes: {type(error).__name__}: {error}",
            cause="it holds a function or class that was made inside a function, such as a lambda in logits_processors",
            remedy="define it in a module, or use one worker (distributed_executor_backend='uni')",
        ) from error


def _environment(ranks: int) -> dict[str, str]:
    """Ours, and each worker's share of the cores unless the user has decided."""
    if envs.VLLM_WORKER_MULTIPROC_METHOD != "spawn":
        logger.warning_once(
            "VLLM_WORKER_MULTIPROC_METHOD=%s: workers are started as fresh interpreters all the same; "
            "a script needs no `if __name__ == '__main__'` for it.",
            envs.VLLM_WORKER_MULTIPROC_METHOD,
        )
    environment = child_environment()
    environment.setdefault("GLOO_SOCKET_IFNAME", "lo")  # all ranks are on this machine
    threads = environment.setdefault("OMP_NUM_THREADS", str(max(1, usable_cores() // ranks)))
    logger.info("%d worker processes, each with OMP_NUM_THREADS=%s on %d cores.", ranks, threads, usable_cores())
    return environment
