"""A scheduler from outside: `--scheduler-cls`. Rarely needed, since constraints are data; here it admits short prompts first."""

from __future__ import annotations

from collections.abc import Iterable

from core.tests.extension_points.engines import assert_refused, example_engine, generated, plain_tokens, prompt_lengths
from vllm.engine.scheduler.scheduler import Scheduler
from vllm.errors import ConfigError
from vllm.messages import EngineRequest, StepPlan


class ShortestFirst(Scheduler):
    """Holds new requests back until it plans, and hands them on by length."""

    order: tuple[int, ...] = ()

    def add_request(self, request: EngineRequest) -> None:
        self._held = [*self.__dict__.get("_held", ()), request]

    def has_unfinished_requests(self) -> bool:
        return bool(self.__dict__.get("_held")) or super().has_unfinished_requests()

    def schedule(self) -> StepPlan | None:
        held: Iterable[EngineRequest] = sorted(self.__dict__.pop("_held", ()), key=lambda r: len(r.prompt_token_ids))
        for request in held:
            self.order += (len(request.prompt_token_ids),)
            super().add_request(request)
        return super().schedule()


def test_the_users_scheduler_plans() -> None:
    with example_engine(scheduler_cls=f"{__name__}.ShortestFirst", max_num_seqs=1) as engine:
        assert generated(engine) == plain_tokens()
        scheduler = engine._core.scheduler
        assert isinstance(scheduler, ShortestFirst)
        assert scheduler.order == tuple(sorted(prompt_lengths(engine)))


def test_something_else_is_refused() -> None:
    assert_refused(
        ConfigError, r"--scheduler-cls .* no subclass of .*SchedulerInterface", scheduler_cls="vllm.messages.StepPlan"
    )
