"""Which versions of torch, torch_npu and CANN fit, and what is said where they do not."""

from __future__ import annotations

import pytest

from vllm_ascend.pairing import CANN_OF, cann_mismatch, release, torch_mismatch


@pytest.mark.parametrize(
    ("version", "wanted"),
    [("2.13.0", "2.13.0"), ("2.13.0+cpu", "2.13.0"), ("2.9.0.post2", "2.9.0"), ("2.12.0rc1", "2.12.0")],
)
def test_release(version: str, wanted: str) -> None:
    assert release(version) == wanted


def test_the_two_wheels_carry_the_same_numbers() -> None:
    assert torch_mismatch("2.13.0+cpu", "2.13.0") is None
    assert torch_mismatch("2.9.0", "2.9.0.post2") is None
    reason, remedy = torch_mismatch("2.12.1", "2.13.0") or ("", "")
    assert reason == "torch_npu 2.13.0 is made for torch 2.13.0, but torch 2.12.1 is installed"
    assert "torch-npu==2.12.1" in remedy
    assert "torch==2.13.0" in remedy


@pytest.mark.parametrize(
    ("torch_npu", "cann"),
    [
        ("2.13.0", "8.5.0"),
        ("2.9.0", "8.5.RC1"),
        ("2.9.0.post2", "9.0.0"),
        ("2.9.0.post3", "9.0.0"),
        ("2.9.0.post8", "9.1.0"),
        ("9.9.9", "1.0.0"),
    ],
    ids=["newest", "candidate", "post", "between two posts", "after the last post", "not in the table"],
)
def test_fitting_pairs(torch_npu: str, cann: str) -> None:
    assert cann_mismatch(torch_npu, cann) is None


def test_a_misfit_names_the_pair_that_fits() -> None:
    reason, remedy = cann_mismatch("2.9.0", "9.0.0") or ("", "")
    assert reason == "torch_npu 2.9.0 runs on CANN 8.5, but the toolkit found is CANN 9.0.0"
    assert remedy == "install CANN 8.5, or for this toolkit torch-npu==2.13.0 with torch==2.13.0"
    assert cann_mismatch("2.13.0", "7.0.0") == (
        "torch_npu 2.13.0 runs on CANN 8.5 or 9.0 or 9.1, but the toolkit found is CANN 7.0.0",
        "install CANN 9.1",
    )


def test_every_row_can_be_met() -> None:
    for torch_npu, releases in CANN_OF.items():
        assert all(cann_mismatch(torch_npu, f"{cann}.0") is None for cann in releases)
