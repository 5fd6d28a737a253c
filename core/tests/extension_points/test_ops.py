"""Ops by declaration: `Platform.op_overrides` names the classes that replace the core's, subclasses of the native ones.

Each example computes the same in another way, as a fused kernel would, and counts its calls.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
import torch

from core.tests.extension_points.engines import assert_refused, example_engine, generated, plain_tokens
from vllm.errors import ConfigError
from vllm.model_executor.ops import Linear, RMSNorm, RotaryEmbedding, SiluAndMul
from vllm.sampling.sampler import Sampler
from vllm.sampling.step import SamplerOutput
from vllm_cpu_ref.platform import CpuRefPlatform

CALLS: Counter[str] = Counter()
OVERRIDES = {
    "rms_norm": "FusedAddRMSNorm",
    "rotary_embedding": "ComplexRotary",
    "silu_and_mul": "Swiglu",
    "linear": "TransposedLinear",
    "sampler": "ArgmaxSampler",
}


class FusedAddRMSNorm(RMSNorm):
    """With a residual the sum and the norm come from one call."""

    def forward(self, x_H: torch.Tensor, residual_H: torch.Tensor | None = None) -> Any:
        CALLS["rms_norm" if residual_H is None else "rms_norm with residual"] += 1
        sum_H = x_H if residual_H is None else x_H + residual_H
        normed_H = torch.nn.functional.rms_norm(sum_H, self.weight.shape, self.weight, self.eps)
        return normed_H if residual_H is None else (normed_H, sum_H)


class ComplexRotary(RotaryEmbedding):
    """Turns pairs as complex numbers, from a table that it lays out its own way: [P, F, 2] and nothing."""

    def lay_out(self, cos_PF: torch.Tensor, sin_PF: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        assert not self.interleaved
        return cos_PF.contiguous(), sin_PF.contiguous()

    def forward(self, x_THD: torch.Tensor, cos_TF: torch.Tensor, sin_TF: torch.Tensor) -> torch.Tensor:
        CALLS["rotary_embedding"] += 1
        real_THF, imaginary_THF = x_THD.chunk(2, dim=-1)
        turned = torch.complex(real_THF, imaginary_THF) * torch.complex(cos_TF, sin_TF).unsqueeze(1)
        return torch.cat((turned.real, turned.imag), dim=-1)


class Swiglu(SiluAndMul):
    def forward(self, gate_up_T2I: torch.Tensor) -> torch.Tensor:
        CALLS["silu_and_mul"] += 1
        gate_TI, up_TI = gate_up_T2I.chunk(2, dim=-1)
        return gate_TI * torch.sigmoid(gate_TI) * up_TI


class TransposedLinear(Linear):
    """Lays each weight out the other way round. The example's output head is tied, so one is the embedding's too."""

    def lay_out(self, weight_OI: torch.Tensor, *, is_shared: bool = False) -> torch.Tensor:
        CALLS["linear laid out beside the embedding" if is_shared else "linear laid out"] += 1
        return weight_OI.t().contiguous()

    def forward(self, x_TI: torch.Tensor, weight_IO: torch.Tensor, bias_O: torch.Tensor | None) -> torch.Tensor:
        CALLS["linear"] += 1
        out_TO = x_TI @ weight_IO
        return out_TO if bias_O is None else out_TO + bias_O


class ArgmaxSampler(Sampler):
    """The device's own argmax for greedy rows; everything else as the core defines it."""

    def forward(self, logits_NV: torch.Tensor, rows: Any, step: Any) -> SamplerOutput:
        if not rows.is_plain_greedy or step.grammar is not None:
            return self.forward_native(logits_NV, rows, step)
        CALLS["sampler"] += 1
        return SamplerOutput(tokens_N=logits_NV.topk(1).indices[:, 0])


class FusedPlatform(CpuRefPlatform):
    def op_overrides(self) -> Mapping[str, str]:
        return {op: f"{__name__}.{cls}" for op, cls in OVERRIDES.items()}


class MistakenPlatform(CpuRefPlatform):
    def op_overrides(self) -> Mapping[str, str]:
        return {"rms_nrom": f"{__name__}.FusedAddRMSNorm"}


class MisfitPlatform(CpuRefPlatform):
    def op_overrides(self) -> Mapping[str, str]:
        return {"linear": f"{__name__}.Swiglu"}


def test_every_replaced_op_is_called_and_the_tokens_stay() -> None:
    CALLS.clear()
    with example_engine(FusedPlatform) as engine:
        assert generated(engine) == plain_tokens()
    laid_out = {"linear laid out", "linear laid out beside the embedding"}
    assert set(CALLS) == {*OVERRIDES, "rms_norm with residual", *laid_out}
    assert CALLS["linear laid out beside the embedding"] == 1


@pytest.mark.parametrize(
    "platform, said", [(MistakenPlatform, "rms_nrom.* does not exist"), (MisfitPlatform, "no subclass of .*Linear")]
)
def test_mistakes_are_named(platform: type[CpuRefPlatform], said: str) -> None:
    assert_refused(ConfigError, said, platform)
