"""An executor from outside: `--distributed-executor-backend package.module.Class`, e.g. for a cluster's own way of starting workers."""

from __future__ import annotations

from core.tests.extension_points.engines import assert_refused, example_engine, generated, plain_tokens
from vllm.config import VllmConfig
from vllm.errors import ConfigError
from vllm.executor.base import StepHandle
from vllm.executor.uniproc import UniProcExecutor
from vllm.messages import StepPlan


class CountingExecutor(UniProcExecutor):
    """Counts what it submits."""

    def __init__(self, config: VllmConfig) -> None:
        super().__init__(config)
        self.submitted_steps: list[int] = []

    def submit(self, plan: StepPlan) -> StepHandle:
        self.submitted_steps.append(plan.step)
        return super().submit(plan)


def test_the_users_executor_takes_every_plan() -> None:
    with example_engine(distributed_executor_backend=f"{__name__}.CountingExecutor") as engine:
        assert generated(engine) == plain_tokens()
        executor = engine._core.executor
        assert isinstance(executor, CountingExecutor)
        first, *_, last = executor.submitted_steps
        assert executor.submitted_steps == list(range(first, last + 1))
        assert len(executor.submitted_steps) == 12, "one step per token"


def test_something_else_is_refused() -> None:
    assert_refused(
        ConfigError,
        r"no subclass of vllm\.executor\.base\.ExecutorBase",
        distributed_executor_backend="vllm.messages.StepPlan",
    )
