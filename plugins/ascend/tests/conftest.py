"""What the tests share. Those that need an NPU run on a real one or under `cann-sim run -- pytest`; elsewhere they say why not."""

from __future__ import annotations

import os

import pytest

import vllm_ascend
from vllm.plugins import Unavailable


def why_no_npu() -> str | None:
    """None where tests can use an NPU."""
    try:
        vllm_ascend.register()
    except Unavailable as unavailable:
        return f"needs an NPU, or cann-sim run -- pytest: {unavailable.reason}"
    return None


_WHY_NO_NPU = why_no_npu()


if _WHY_NO_NPU:
    # The kit's class takes no skip marks: without the device it is no part of the run.
    collect_ignore = ["test_conformance.py"]


def pytest_report_header() -> str:
    return f"ascend: {_WHY_NO_NPU or 'an NPU can be used'}"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "npu: needs an NPU, real or simulated")
    config.addinivalue_line("markers", "simulated: injects faults or counts launches, which only the simulator can")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what is marked `npu` where there is none, `simulated` where the NPU is real."""
    is_simulated = "CANN_SIM_DEVICES" in os.environ or "cann_sim" in os.environ.get("ASCEND_HOME_PATH", "")
    for item in items:
        if _WHY_NO_NPU and ({"npu", "simulated"} & {mark.name for mark in item.iter_markers()}):
            item.add_marker(pytest.mark.skip(reason=_WHY_NO_NPU))
        elif not is_simulated and item.get_closest_marker("simulated"):
            item.add_marker(pytest.mark.skip(reason="injects faults or counts: cann-sim run -- pytest"))
