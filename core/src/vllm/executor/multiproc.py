"""The executor for several workers on this machine, one process each.

    engine ── plans, masks, calls: shared memory (`shared_board`), woken over a socket ──▶ every rank
    engine ◀── tokens: socket of rank 0; errors and answers to calls: sockets of all ranks (`mailbox`)

Whatever goes wrong in a step ends the engine: all processes are gone within seconds, and the error says which worker and why. A single
rank, for which nobody waits, may fail a step and go on: the step's handle raises then.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Concatenate, NoReturn, ParamSpec, TypeVar

from vllm import envs
from vllm.errors import EngineDeadError, StepTimeoutError
from vllm.executor.base import ExecutorBase, StepHandle
from vllm.executor.crew import Crew
from vllm.executor.mailbox import Expected, Mailbox
from vllm.executor.rpc import UNPICKLABLE, cannot_travel, name_of, rpc_timeout
from vllm.executor.shared_board import SLOTS
from vllm.executor.steps import Failure, check_mask
from vllm.executor.wire import Buffer, Command, GrammarMask, Rpc, RunStep, encode
from vllm.executor.worker_process import BORN
from vllm.worker.worker_base import WorkerBase

if TYPE_CHECKING:
    from vllm.config import VllmConfig
    from vllm.messages import Int32Array, StepOutput, StepPlan

__all__ = ["MultiprocExecutor"]

P = ParamSpec("P")
T = TypeVar("T")

OTHER_RANKS_s = 5.0
"""After one rank's call has failed: time for the others to answer, before they are taken to wait for it for ever."""


class MultiprocExecutor(ExecutorBase):
    """`world_size` ranks of one engine."""

    def __init__(self, config: VllmConfig) -> None:
        """Returns when every rank's worker exists; raises what a worker's construction raised."""
        super().__init__(config)
        self._failure = Failure()
        self._ranks = range(config.parallel_config.world_size)
        self._crew = Crew(config)
        self._fatal = partial(_end_engine, self._failure, self._crew)
        self._mailbox = Mailbox(self._crew.workers, self._fatal)
        self._end = weakref.finalize(self, _end, self._crew, self._mailbox)
        self._awaits_mask = False
        self._wait_for_birth()

    @property
    def max_inflight_steps(self) -> int:
        return 2 if self.config.scheduler_config.async_scheduling else 1

    @property
    def survives_out_of_memory(self) -> bool:
        return len(self._ranks) == 1

    def call(self, method: Callable[Concatenate[WorkerBase, P], T], *args: P.args, **kwargs: P.kwargs) -> list[T]:
        return self._ask(Rpc(method, args, kwargs), timeout_s=None)

    def collective_rpc(
        self,
        method: str | Callable[..., Any],
        timeout_s: float | None = None,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> list[Any]:
        """Method, arguments and results must be picklable. After a time-out the workers finish the call before anything else."""
        return self._ask(Rpc(method, args, kwargs or {}), timeout_s)

    def submit(self, plan: StepPlan) -> StepHandle:
        self._failure.check()
        assert not self._awaits_mask, "the last step has grammar rows and was not sampled"
        self._awaits_mask = len(plan.grammar_rows_G) > 0
        number = self._post(RunStep(plan))
        return _Step(self, plan, self._mailbox.expect(number, f"in step {plan.step}", ranks=(0,)))

    def check_health(self) -> None:
        self._failure.check()
        self._mailbox.read(0.0)
        self._mailbox.look_for_deaths()
        if self._mailbox.is_idle:
            self.call(WorkerBase.check_health)

    def shutdown(self) -> None:
        self._failure.record(EngineDeadError("The executor was shut down."))
        self._end()

    # -- for _Step ------------------------------------------------------------------------------------------------------------

    def send_mask(self, mask_GW: Int32Array) -> None:
        """Complete the last step."""
        self._failure.check()
        self._awaits_mask = False
        self._post(GrammarMask(mask_GW))

    def step_output(self, plan: StepPlan, expected: Expected) -> StepOutput:
        """Wait for rank 0. Raises what the step raised, where that was not the engine's end."""
        timeout_s = envs.VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS
        try:
            if expected.missing:
                self._failure.check()
            if not self._mailbox.wait_until(lambda: not expected.missing, timeout_s):
                self._fatal(self._late(f"Step {plan.step}", expected.number, timeout_s))
        finally:
            self._mailbox.forget(expected)
        if expected.errors:
            raise expected.errors[0]
        output: StepOutput = expected.values[0]
        return output

    # -- inner ----------------------------------------------------------------------------------------------------------------

    def _wait_for_birth(self) -> None:
        timeout_s = envs.VLLM_ENGINE_READY_TIMEOUT_S
        born = self._mailbox.expect(BORN, "at its start", self._ranks)
        if not self._mailbox.wait_until(lambda: not born.missing, timeout_s):
            late = ", ".join(str(self._crew.workers[rank]) for rank in sorted(born.missing))
            what = f"{late} did not start within {timeout_s:g} s."
            self._fatal(EngineDeadError(what, remedy="raise VLLM_ENGINE_READY_TIMEOUT_S if the machine is slow"))
        self._mailbox.forget(born)

    def _ask(self, rpc: Rpc, timeout_s: float | None) -> list[Any]:
        """Every rank's value, in rank order."""
        self._failure.check()
        answers = self._mailbox.expect(self._post(rpc), f"in {name_of(rpc.method)}", self._ranks)
        try:
            in_time = self._mailbox.wait_until(lambda: not answers.missing or bool(answers.errors), timeout_s)
            if answers.errors:
                self._raise_first(answers)
            if not in_time:
                raise rpc_timeout(rpc.method, timeout_s or 0.0, self._names(answers.missing))
        finally:
            self._mailbox.forget(answers)
        return [answers.values[rank] for rank in self._ranks]

    def _raise_first(self, answers: Expected) -> NoReturn:
        """Raise the error that came first. Ranks that do not answer as well wait for the failed one, and nothing else would end that."""
        first = next(iter(answers.errors.values()))
        if not self._mailbox.wait_until(lambda: not answers.missing, OTHER_RANKS_s):
            self._fatal(first)
        raise first

    def _post(self, command: Command) -> int:
        """Put a command on the board and wake every rank; its number."""
        blocks = _encoded(command)
        self._wait_for_room()
        try:
            place = self._crew.board.write(blocks)
            for worker in self._crew.workers:
                worker.connection.send_bytes(place.pack())
        except OSError as error:
            self._mailbox.look_for_deaths(within_s=1.0)
            self._fatal(error)
        except BaseException as error:  # noqa: BLE001 - such as Ctrl-C after some ranks were told: they can no longer agree; raised
            self._fatal(error)
        return place.number

    def _wait_for_room(self) -> None:
        """A rank may be some messages behind; it says nothing when it has read on, so that we look every millisecond."""
        board, timeout_s = self._crew.board, envs.VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS
        deadline_s = time.monotonic() + timeout_s
        while not board.has_room():
            self._mailbox.read(0.001)
            if time.monotonic() > deadline_s:
                self._fatal(self._late("The last step", board.next_number - SLOTS, timeout_s))

    def _late(self, step: str, number: int, timeout_s: float) -> StepTimeoutError:
        """Names the ranks that are not done with message `number`."""
        late = {rank for rank in self._ranks if not self._crew.board.has_finished(rank, number)}
        return StepTimeoutError(
            f"{step} was not finished within {timeout_s:g} s; still at it: {self._names(late)}.",
            cause="a collective that one rank never joined, a device that hangs, or a step that takes this long",
            remedy="raise VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS if the step is slow; `py-spy dump --pid` shows where a worker hangs",
        )

    def _names(self, ranks: Iterable[int]) -> str:
        return ", ".join(str(self._crew.workers[rank]) for rank in sorted(ranks))


class _Step(StepHandle):
    """A step on its way. A plan without grammar rows is sampled by the workers unasked."""

    def __init__(self, executor: MultiprocExecutor, plan: StepPlan, expected: Expected) -> None:
        self._executor, self._plan, self._expected = executor, plan, expected

    def sample(self, grammar_mask_GW: Int32Array | None = None) -> None:
        check_mask(self._plan, grammar_mask_GW)
        if grammar_mask_GW is not None and len(grammar_mask_GW):
            self._executor.send_mask(grammar_mask_GW)

    def result(self) -> StepOutput:
        return self._executor.step_output(self._plan, self._expected)


def _end_engine(failure: Failure, crew: Crew, error: BaseException) -> NoReturn:
    """Remember the error, end all processes, raise it. Knows no executor, so that a forgotten one can be collected."""
    failure.record(error)
    crew.end(gently=False)
    raise error


def _end(crew: Crew, mailbox: Mailbox) -> None:
    crew.end(gently=True)
    mailbox.close()


def _encoded(command: Command) -> list[Buffer]:
    try:
        return encode(command)
    except UNPICKLABLE as error:
        what = name_of(command.method) if isinstance(command, Rpc) else type(command).__name__
        raise cannot_travel(what, "worker processes", error) from error
