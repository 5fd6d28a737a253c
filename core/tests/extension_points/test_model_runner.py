"""A model runner from outside: `Platform.get_model_runner_cls`, a subclass of the device-neutral one or of the contract."""

from __future__ import annotations

from typing import Any

from core.tests.extension_points.engines import example_engine, generated, plain_tokens, prompt_lengths
from vllm.messages import StepPlan
from vllm.worker.step_inputs import StepInputs
from vllm.worker.torch_model_runner import TorchModelRunner
from vllm_cpu_ref.platform import CpuRefPlatform


class TracingRunner(TorchModelRunner):
    """Keeps how many tokens each step computed."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.tokens_of_steps: list[int] = []

    def prepare_inputs(self, plan: StepPlan) -> StepInputs:
        self.tokens_of_steps.append(plan.total_tokens)
        return super().prepare_inputs(plan)


class TracingPlatform(CpuRefPlatform):
    def get_model_runner_cls(self) -> str:
        return f"{__name__}.TracingRunner"


def test_the_platforms_runner_runs_every_step() -> None:
    with example_engine(TracingPlatform) as engine:
        assert generated(engine) == plain_tokens()
        ((prefill, *decodes),) = engine.collective_rpc(lambda worker: worker.runner.tokens_of_steps)
        assert prefill == sum(prompt_lengths(engine))
    assert decodes == [3] * 11
