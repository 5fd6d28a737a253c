"""Every operation of the table gives on the simulated NPU what it gives on the CPU, in each layout and dtype."""

from __future__ import annotations

import pytest
from on_npu import agrees
from operator_cases import CASES, Case


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_operation_agrees_with_cpu(case: Case) -> None:
    agrees(case.function, *case.inputs, tolerance=case.tolerance)
