"""The backend `checked` in an engine: what is planted is refused. (Rule by rule: test_checked_rules.py; the report: test_generate.py.)"""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch

from vllm import SamplingParams
from vllm.engine.llm_engine import LLMEngine
from vllm.inputs import TokensPrompt
from vllm.model_executor.ops.activation import SiluAndMul
from vllm.testing.workplace import Workplace
from vllm.worker.step_inputs import StepInputs
from vllm.worker.step_shapes import StepShape
from vllm_spyre.checked.rules import RuleBrokenError
from vllm_spyre.platform import SpyrePlatform
from vllm_spyre.runner import SpyreModelRunner


class DoublePrecision(SiluAndMul):
    """An op that forgets the model's dtype."""

    def forward_native(self, gate_up_T2I: torch.Tensor) -> torch.Tensor:
        return super().forward_native(gate_up_T2I.double()).to(gate_up_T2I.dtype)


class DoublePrecisionPlatform(SpyrePlatform):
    """Computes in float64 somewhere."""

    def op_overrides(self) -> Mapping[str, str]:
        return {"silu_and_mul": f"{__name__}.DoublePrecision"}


class DynamicRunner(SpyreModelRunner):
    """Leaves the number of tokens open."""

    def _arguments(self, inputs: StepInputs) -> tuple[object, ...]:
        torch._dynamo.maybe_mark_dynamic(inputs.input_ids_T, 0)
        return super()._arguments(inputs)


class DynamicPlatform(SpyrePlatform):
    """Its steps have dynamic shapes."""

    def get_model_runner_cls(self) -> str:
        return f"{__name__}.DynamicRunner"


class ForgetfulRunner(SpyreModelRunner):
    """Leaves a bucket of the scheduler out of warm-up."""

    def step_shapes(self) -> tuple[StepShape, ...]:
        return tuple(shape for shape in super().step_shapes() if shape.rows < 2)


class ForgetfulPlatform(SpyrePlatform):
    """The scheduler knows a bucket more than warm-up."""

    def get_model_runner_cls(self) -> str:
        return f"{__name__}.ForgetfulRunner"


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_SPYRE_DYNAMO_BACKEND", "checked")


def run_two_requests(platform: str) -> None:
    options = {"skip_tokenizer_init": True, "disable_log_stats": True, "use_tqdm_on_load": False}
    with Workplace(f"{__name__}.{platform}") as workplace:
        limits = {"max_model_len": 64, "max_num_seqs": 2, "kv_cache_memory_bytes": 2**20}
        engine = LLMEngine(workplace.config(dtype="float32", **limits, **options))
        try:
            for request_id in ("a", "b"):
                prompt = TokensPrompt(prompt_token_ids=[11, 12, 13])
                engine.add_request(request_id, prompt, SamplingParams(max_tokens=8, ignore_eos=True))
            while engine.has_unfinished_requests():
                engine.step()
        finally:
            engine.shutdown()


@pytest.mark.usefixtures("checked")
@pytest.mark.parametrize(
    ("platform", "rule", "lesson"),
    [
        ("DoublePrecisionPlatform", "known-dtype", r"aten._to_copy → float64 \[64, .*gate_up_T2I.double\(\)"),
        ("DynamicPlatform", "static-shapes", "the argument input_ids_T has the dynamic shape int64"),
        (
            "ForgetfulPlatform",
            "no-compilation-while-serving",
            r"a decode of 2 rows .* for requests a\S*, b\S*: compiled are",
        ),
    ],
    ids=["float64", "dynamic shape", "extra bucket"],
)
def test_what_is_planted_is_refused_with_the_right_words(platform: str, rule: str, lesson: str) -> None:
    with pytest.raises(RuleBrokenError, match=lesson) as caught:
        run_two_requests(platform)
    assert caught.value.rule.id == rule
