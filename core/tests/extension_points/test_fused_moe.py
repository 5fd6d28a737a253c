"""The fused mixture of experts from outside: a platform names its own class, which packs the weights as its kernel wants them.

The example runs a random Mixtral through the real engine, and then the law that every replacement must keep.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from core.tests.extension_points.engines import assert_refused, example_engine
from core.tests.models.checkpoints import LONGEST, Family, random_texts
from vllm import SamplingParams, TokensPrompt
from vllm.engine.llm_engine import LLMEngine
from vllm.errors import ConfigError
from vllm.model_executor.ops import FusedExperts
from vllm.platforms import Capability, Feature, Platform
from vllm.testing import run_laws
from vllm.testing.report import Status
from vllm_cpu_ref.platform import CpuRefPlatform

CALLS: Counter[str] = Counter()
MIXTRAL = Family("mixtral", "MixtralConfig", {"num_local_experts": 4})


class GatheredExperts(FusedExperts):
    """Copies each token's experts beside it and multiplies them in one batch: no counts come to the host, so a graph can record it.

    The kernel wants inputs before outputs, and the outputs of gate and up in turns.
    """

    def lay_out(self, gate_up_E2IH: torch.Tensor, down_EHI: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        in_turns_EI2H = torch.stack(gate_up_E2IH.chunk(2, dim=1), dim=2)
        return in_turns_EI2H.flatten(1, 2).transpose(1, 2).contiguous(), down_EHI.transpose(1, 2).contiguous()

    def forward(
        self, x_TH: torch.Tensor, scores_TE: torch.Tensor, gate_up_EHI2: torch.Tensor, down_EIH: torch.Tensor
    ) -> torch.Tensor:
        CALLS["fused_moe"] += 1
        shares_TK, experts_TK = self.route(scores_TE)
        gate_up_TKI2 = torch.einsum("th,tkhi->tki", x_TH, gate_up_EHI2[experts_TK]).unflatten(-1, (-1, 2))
        inner_TKI = self.activation(torch.cat(gate_up_TKI2.unbind(-1), dim=-1))
        out_TKH = torch.einsum("tki,tkih->tkh", inner_TKI, down_EIH[experts_TK])
        return (out_TKH.float() * shares_TK.unsqueeze(-1)).sum(1).to(x_TH.dtype)


class GatheringPlatform(CpuRefPlatform):
    def op_overrides(self) -> Mapping[str, str]:
        return {"fused_moe": f"{__name__}.GatheredExperts"}


class ExpertlessPlatform(CpuRefPlatform):
    def capabilities(self) -> Mapping[Feature, Capability]:
        why = Capability.not_yet("its compiler knows no gather")
        return {**super().capabilities(), Feature.MIXTURE_OF_EXPERTS: why}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mixtral")
    MIXTRAL.write(folder)
    return folder


def options(folder: Path) -> dict[str, Any]:
    return {"model": str(folder), "skip_tokenizer_init": True, "max_model_len": LONGEST}


def generated(folder: Path, platform: type[Platform]) -> list[list[int]]:
    with example_engine(platform, **options(folder)) as engine:
        return tokens_of(engine)


def tokens_of(engine: LLMEngine) -> list[list[int]]:
    params = SamplingParams(temperature=0.0, max_tokens=8, ignore_eos=True, detokenize=False)
    for index, text in enumerate(random_texts((3, 17, 40))):
        engine.add_request(str(index), TokensPrompt(prompt_token_ids=text), params)
    tokens: dict[str, list[int]] = {}
    while engine.has_unfinished_requests():
        tokens.update({each.request_id: list(each.outputs[0].token_ids) for each in engine.step() if each.finished})
    return [tokens[request_id] for request_id in sorted(tokens)]


def test_the_replacement_is_called_and_the_tokens_stay(folder: Path) -> None:
    CALLS.clear()
    assert generated(folder, GatheringPlatform) == generated(folder, CpuRefPlatform)
    assert CALLS["fused_moe"] > 0


def test_the_replacement_keeps_the_law() -> None:
    path = f"{__name__}.{GatheringPlatform.__qualname__}"
    outcomes = run_laws(path, laws=["ops.fused_moe"], dtypes=["float32", "bfloat16"]).outcomes
    assert [outcome.status for outcome in outcomes] == [Status.PASSED] * 2, [outcome.detail for outcome in outcomes]


def test_packed_weights_are_held_once(folder: Path) -> None:
    """The parameters hold what the replacement made; nothing holds what came from the checkpoint."""
    with example_engine(GatheringPlatform, **options(folder)) as engine:
        (shapes,) = engine.apply_model(shapes_of_experts)
    assert shapes == {"gate_up_proj": ((4, 64, 192), 0), "down_proj": ((4, 96, 64), 0)}


def shapes_of_experts(model: Any) -> dict[str, tuple[tuple[int, ...], int]]:
    """Of layer 0: each stack's shape, and how many loaders it still has."""
    experts = model.layers[0].mlp.experts
    return {
        name: (tuple(stack.weight.shape), len(stack.loaders))
        for name, stack in experts.named_children()
        if name != "op"
    }


def test_a_platform_without_experts_refuses_such_a_model(folder: Path) -> None:
    said = (
        r"the model \(MixtralForCausalLM\) asks for mixture of experts.*does not do yet: its compiler knows no gather"
    )
    assert_refused(ConfigError, said, ExpertlessPlatform, **options(folder))
