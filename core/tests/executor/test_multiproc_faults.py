"""What happens when something breaks: a step raises, a worker is killed, hangs or exits, the engine dies, Ctrl-C is pressed.

Each time: the error names the worker and the reason, and no process is left.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from core.tests.executor.fake_worker import fake_config, plan_of
from core.tests.executor.processes import open_watches, still_alive
from core.tests.executor.test_multiproc import pid_of
from vllm.errors import EngineDeadError, StepTimeoutError, WorkerDiedError, WorkerError
from vllm.executor.multiproc import MultiprocExecutor

pytestmark = pytest.mark.alone  # processes and their deadlines


class Engine:
    """Two fake workers, watched."""

    def __init__(self) -> None:
        self.executor = MultiprocExecutor(fake_config(2, backend="mp"))
        self.pids = self.executor.call(pid_of)
        self.watches = open_watches(self.pids)

    def step(self, order: str) -> Callable[[], object]:
        handle = self.executor.submit(plan_of(17, order=order))
        handle.sample()
        return handle.result

    def assert_all_over(self) -> None:
        assert still_alive(self.watches) == []
        with pytest.raises(EngineDeadError, match="has stopped"):
            self.executor.submit(plan_of(18))
        with pytest.raises(EngineDeadError, match="has stopped"):
            self.executor.check_health()


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.mark.parametrize("rank", [0, 1])
def test_a_step_that_raises_keeps_its_class(engine: Engine, rank: int) -> None:
    """Rank 1 answers no steps, and hangs its peer up: its error is heard all the same."""
    engine.step(f"raise@{rank}")
    with pytest.raises(
        ZeroDivisionError, match=rf"bad step\n  Raised by: Worker {rank} \(pid {engine.pids[rank]}\)"
    ) as caught:
        engine.step("hang@0")()
    assert "ZeroDivisionError" in str(caught.value.__cause__)
    engine.assert_all_over()


def test_a_step_that_raises_strangely_is_told_as_text(engine: Engine) -> None:
    with pytest.raises(WorkerError, match=r"Worker 0 \(pid \d+\) raised UnpicklableError: 1 and 2"):
        engine.step("unpicklable@0")()
    engine.assert_all_over()


@pytest.mark.parametrize("rank", [0, 1])
def test_a_worker_killed_in_mid_step_is_named(engine: Engine, rank: int) -> None:
    result = engine.step("hang@0")
    os.kill(engine.pids[rank], signal.SIGKILL)
    named = (
        rf"(?s)Worker {rank} \(pid {engine.pids[rank]}\) died with signal 9 \(SIGKILL\) in step 17.*the kernel ran out"
    )
    with pytest.raises(WorkerDiedError, match=named):
        result()
    engine.assert_all_over()


def test_a_worker_that_exits_is_named(engine: Engine) -> None:
    with pytest.raises(WorkerDiedError, match=r"Worker 0 \(pid \d+\) ended by itself with exit code 3 in step 17"):
        engine.step("exit@0")()
    engine.assert_all_over()


def test_a_worker_killed_between_steps_is_found(engine: Engine) -> None:
    os.kill(engine.pids[1], signal.SIGKILL)
    assert still_alive({1: os.pidfd_open(engine.pids[1])}) == []
    with pytest.raises(WorkerDiedError, match=r"Worker 1 .*signal 9 \(SIGKILL\) while it had nothing to do"):
        engine.executor.check_health()
    engine.assert_all_over()


def test_the_death_is_told_rather_than_what_it_made_others_raise(engine: Engine) -> None:
    """Rank 1 dies, and rank 0's collective fails of it at the same time."""
    engine.step("die@1")
    with pytest.raises(WorkerDiedError, match=r"Worker 1 .*SIGKILL"):
        engine.step("raise@0")()
    engine.assert_all_over()


@pytest.mark.parametrize("rank", [0, 1])
def test_a_hanging_worker_is_named_after_the_time_out(
    monkeypatch: pytest.MonkeyPatch, engine: Engine, rank: int
) -> None:
    """Rank 1's answers are not waited for: the engine notices when the board is full of what it has not read."""
    monkeypatch.setenv("VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS", "0.5")
    step = r"Step 17" if rank == 0 else "The last step"
    named = rf"{step} was not finished within 0.5 s; still at it: Worker {rank} \(pid {engine.pids[rank]}\)\."
    result = engine.step(f"hang@{rank}")

    def go_on() -> None:
        result()
        for _ in range(5):
            engine.step("nothing")()

    with pytest.raises(StepTimeoutError, match=named):
        go_on()
    engine.assert_all_over()


def test_a_worker_that_will_not_stop_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vllm.executor.crew.STOP_s", 0.05)
    executor = MultiprocExecutor(fake_config(2, backend="mp", slow_shutdown=True))
    watches = open_watches(executor.call(pid_of))
    executor.shutdown()
    assert still_alive(watches, 0.0) == []


def test_the_engine_killed_takes_its_workers_along(tmp_path: Path) -> None:
    engine = Script(tmp_path, 'handle = executor.submit(plan_of(0, order="hang@0")); say(executor); handle.result()')
    engine.kill()
    assert still_alive(engine.watches) == []


def test_workers_of_a_thread_outlive_it_but_not_the_engine(tmp_path: Path) -> None:
    """The kernel's parent-death signal watches the thread; an engine may be made on one that ends."""
    engine = Script(
        tmp_path,
        """
        made = []
        thread = threading.Thread(target=lambda: made.append(MultiprocExecutor(fake_config(2, backend="mp"))))
        thread.start(); thread.join()
        assert made[0].call(rank_of) == [0, 1]
        say(made[0])
        made[0].call(hang)
        """,
    )
    engine.kill()
    assert still_alive(engine.watches) == []


def test_a_forked_copy_of_the_engine_keeps_no_worker_alive(tmp_path: Path) -> None:
    """It holds the engine's sockets, and the kernel tells the workers of a thread nothing."""
    engine = Script(
        tmp_path,
        """
        made = []
        thread = threading.Thread(target=lambda: made.append(MultiprocExecutor(fake_config(2, backend="mp"))))
        thread.start(); thread.join()
        if os.fork() == 0:
            threading.Event().wait(30); os._exit(0)
        say(made[0])
        threading.Event().wait()
        """,
        start="",
    )
    engine.process.kill()
    alive = still_alive(engine.watches)
    os.killpg(engine.process.pid, signal.SIGKILL)  # the copy too
    assert alive == []


@pytest.mark.parametrize("last_words", ["", "sys.exit(4)", "raise SystemExit(4)", "raise RuntimeError('mine')"])
def test_the_engine_leaves_without_goodbye(tmp_path: Path, last_words: str) -> None:
    engine = Script(tmp_path, f"say(executor); {last_words}")
    assert still_alive(engine.watches) == []
    errors = engine.process.communicate()[1]
    assert errors.count("Traceback") == ("Runtime" in last_words)
    assert "leaked" not in errors
    assert "ignored" not in errors


def test_ctrl_c_ends_all_and_shows_one_traceback(tmp_path: Path) -> None:
    engine = Script(tmp_path, 'handle = executor.submit(plan_of(0, order="hang@0")); say(executor); handle.result()')
    os.killpg(engine.process.pid, signal.SIGINT)
    assert still_alive(engine.watches, 40.0) == []  # told to stop, for 3 s; then ended; a busy machine takes its time
    errors = engine.process.communicate()[1]
    assert errors.count("Traceback") == 1
    assert errors.rstrip().endswith("KeyboardInterrupt")


def test_a_script_needs_no_main_guard_and_may_send_its_own_functions(tmp_path: Path) -> None:
    engine = Script(
        tmp_path,
        """
        def mine(worker, add):
            return worker.rank + add
        if __name__ == "__main__":
            print(executor.collective_rpc(mine, args=(10,)))
            executor.shutdown()
        """,
        start='if __name__ == "__main__": executor = MultiprocExecutor(fake_config(2, backend="mp"))',
        says=False,
    )
    out, errors = engine.process.communicate()
    assert (out, errors) == ("[10, 11]\n", "")


def test_files_of_the_current_folder_stand_in_for_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("selectors", "struct", "tempfile"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('not the one of the standard library')\n")
    monkeypatch.chdir(tmp_path)
    executor = MultiprocExecutor(fake_config(2, backend="mp"))
    executor.shutdown()


class Script:
    """A program of its own, in a process group of its own, that makes an engine and says its workers' process ids."""

    def __init__(
        self,
        folder: Path,
        body: str,
        *,
        start: str = 'executor = MultiprocExecutor(fake_config(2, backend="mp"))',
        says: bool = True,
    ) -> None:
        path = folder / "script.py"
        path.write_text("\n".join([_HEAD, start, textwrap.dedent(body)]))
        self.process = subprocess.Popen(
            [sys.executable, str(path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(Path.cwd()), "VLLM_LOGGING_LEVEL": "WARNING"},
        )
        assert self.process.stdout is not None
        self.watches = open_watches(map(int, self.process.stdout.readline().split())) if says else {}

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()  # not for its pipes: the workers hold them too, and waiting for them would hide that they live
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()


_HEAD = """
import os, signal, sys, threading
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started the tests in the background had it ignored
from core.tests.executor.fake_worker import fake_config, plan_of
from core.tests.executor.test_multiproc import pid_of, rank_of
from vllm.executor.multiproc import MultiprocExecutor

def say(executor):
    print(*[worker.process.pid for worker in executor._crew.workers], flush=True)
def hang(worker):
    threading.Event().wait()
"""
