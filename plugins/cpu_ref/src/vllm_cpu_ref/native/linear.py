"""The linear map with a C++ kernel: weights packed once after loading, where the processor multiplies pairs of bfloat16.

A row's result depends on that row alone, bit by bit, which torch's own does not promise. What the kernel does not know stays torch's.
Legend: `…I` any leading dimensions and the inputs, T tokens, O outputs, P panels of outputs.
"""

from __future__ import annotations

import torch

from vllm.model_executor.ops.linear import Linear
from vllm_cpu_ref.native.library import TYPES, kernels

__all__ = ["NativeLinear", "panels", "weight_of"]

PANEL_OUTPUTS = 64
"""As in kernels/arguments.h."""
LARGEST_COPY_BYTES = 64 * 2**20
"""A table that others read too is packed beside it only up to this size: speed for small models, no second copy of a large one."""


class NativeLinear(Linear):
    """A weight in panels goes to the kernel, one that is still a matrix to torch."""

    def __init__(self) -> None:
        super().__init__()
        module = kernels()
        self.kernels = module if module is not None and module.has_linear() else None
        self.num_outputs = 0

    def lay_out(self, weight_OI: torch.Tensor, *, is_shared: bool = False) -> torch.Tensor:
        """[P, I/2, 64, 2]; as it is where no kernel would read it."""
        fits = (
            weight_OI.dtype is torch.bfloat16 and weight_OI.is_cpu and weight_OI.shape[1] % 2 == 0 and weight_OI.numel()
        )
        if self.kernels is None or not fits or (is_shared and weight_OI.nbytes > LARGEST_COPY_BYTES):
            return weight_OI
        self.num_outputs = len(weight_OI)
        return panels(weight_OI)

    def forward(self, x_I: torch.Tensor, weight: torch.Tensor, bias_O: torch.Tensor | None) -> torch.Tensor:
        if weight.dim() == 2:
            return self.forward_native(x_I, weight, bias_O)
        num_inputs = 2 * weight.shape[1]
        if torch.compiler.is_compiling() or not _fits(x_I, num_inputs) or not _fits_bias(bias_O, self.num_outputs):
            return self.forward_native(x_I, weight_of(weight, self.num_outputs), bias_O)
        x_TI = x_I if x_I.dim() == 2 else x_I.reshape(-1, num_inputs)
        x_TI = x_TI if x_TI.stride(1) == 1 else x_TI.contiguous()
        out_TO = torch.empty((len(x_TI), self.num_outputs), dtype=x_I.dtype)
        self.kernels.linear(  # type: ignore[union-attr]
            TYPES[x_I.dtype], out_TO.data_ptr(), x_TI.data_ptr(), x_TI.stride(0), weight.data_ptr(),
            0 if bias_O is None else bias_O.data_ptr(), len(x_TI), num_inputs, self.num_outputs,
        )  # fmt: skip
        return out_TO if x_I.dim() == 2 else out_TO.view(*x_I.shape[:-1], self.num_outputs)


def panels(weight_OI: torch.Tensor) -> torch.Tensor:
    """[P, I/2, 64, 2] of a bfloat16 matrix with an even number of inputs; the last panel is filled up with zeros."""
    # No other copy: one beside each new weight leaves holes in the heap, mostly too small by a line for the next one.
    is_of_pairs = weight_OI.is_contiguous() and weight_OI.storage_offset() % 2 == 0
    dense_OI = weight_OI if is_of_pairs else weight_OI.clone(memory_format=torch.contiguous_format)
    rows_of_panels = torch.split(dense_OI.view(torch.int32), PANEL_OUTPUTS)
    packed = dense_OI.new_zeros(len(rows_of_panels), weight_OI.shape[1] // 2, PANEL_OUTPUTS, 2)
    for panel, rows in zip(packed.view(torch.int32).squeeze(-1), rows_of_panels, strict=True):
        panel[:, : len(rows)] = rows.t()
    return packed


def weight_of(packed: torch.Tensor, num_outputs: int) -> torch.Tensor:
    """The matrix [O, I] that `panels` packed; a copy."""
    return packed.transpose(1, 2).reshape(-1, 2 * packed.shape[1])[:num_outputs]


def _fits(x_I: torch.Tensor, num_inputs: int) -> bool:
    return x_I.dtype is torch.bfloat16 and x_I.is_cpu and x_I.shape[-1] == num_inputs and x_I.numel() > 0


def _fits_bias(bias_O: torch.Tensor | None, num_outputs: int) -> bool:
    if bias_O is None:
        return True
    return (
        bias_O.dtype is torch.bfloat16 and bias_O.is_cpu and bias_O.shape == (num_outputs,) and bias_O.is_contiguous()
    )
