"""Owns the mixture of experts on grouped matrix products: rows sorted by expert, each group times its expert's matrix, all in one operator.

How many rows an expert has stays on the device, so that nothing waits and a graph can hold it all.

Legend: T tokens, E experts, K experts per token, H hidden size, I intermediate size on this rank, R = T K rows, one per token and expert.
"""

from __future__ import annotations

import torch
import torch_npu

from vllm.model_executor.ops.moe import FusedExperts

__all__ = ["GroupedExperts"]


class GroupedExperts(FusedExperts):
    """npu_grouped_matmul twice, the activation between."""

    def lay_out(self, gate_up_E2IH: torch.Tensor, down_EHI: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Transposed: the operator multiplies rows by columns."""
        return gate_up_E2IH.transpose(1, 2).contiguous(), down_EHI.transpose(1, 2).contiguous()

    def forward(
        self, x_TH: torch.Tensor, scores_TE: torch.Tensor, gate_up_EH2I: torch.Tensor, down_EIH: torch.Tensor
    ) -> torch.Tensor:
        shares_TK, experts_TK = self.route(scores_TE)
        expert_R, order_R = experts_TK.flatten().sort(stable=True)
        rows_E = _rows_of_each(expert_R, self.routing.num_experts)
        sorted_RH = x_TH[order_R // self.routing.top_k]
        inner_RI = self.activation(_grouped(sorted_RH, gate_up_EH2I, rows_E))
        out_RH = torch.empty_like(sorted_RH).index_copy_(0, order_R, _grouped(inner_RI, down_EIH, rows_E))
        out_TKH = out_RH.view(*experts_TK.shape, x_TH.shape[-1])
        return (out_TKH.float() * shares_TK.unsqueeze(-1)).sum(1).to(x_TH.dtype)


def _rows_of_each(expert_R: torch.Tensor, num_experts: int) -> torch.Tensor:
    """int64 [E]; a bincount would wait for the largest number."""
    none_E = torch.zeros(num_experts, dtype=torch.int64, device=expert_R.device)
    return none_E.scatter_add_(0, expert_R, torch.ones_like(expert_R))


def _grouped(x_RI: torch.Tensor, weight_EIO: torch.Tensor, rows_E: torch.Tensor) -> torch.Tensor:
    """[R, O]: the first rows_E[0] rows by the first matrix, the next rows_E[1] by the second, …; one tensor in, one out."""
    groups_of_rows, counts, one_output = 0, 1, 2
    outputs: list[torch.Tensor] = torch_npu.npu_grouped_matmul(
        [x_RI],
        [weight_EIO],
        group_list=rows_E,
        group_list_type=counts,
        group_type=groups_of_rows,
        split_item=one_output,
    )
    return outputs[0]
