"""What becomes of an error of the device in a step: in the platform's words, with the step; other errors stay as they are."""

from __future__ import annotations

import pytest

from core.tests.worker.host_platform import HostPlatform
from vllm.errors import DeviceError
from vllm.platforms import DeviceFault
from vllm.worker.memory_errors import memory_errors_explained


class TalkativePlatform(HostPlatform):
    """Knows its device's errors by their number."""

    def device_fault(self, error: Exception) -> DeviceFault | None:
        if "E77" not in str(error):
            return None
        return DeviceFault(what="host:0 failed in matmul", cause="E77: the fan stands still", remedy="clean it")


def test_a_fault_of_the_device_names_device_operator_and_step() -> None:
    with pytest.raises(DeviceError) as raised, memory_errors_explained(TalkativePlatform(), "step 7 of 3 tokens"):
        raise RuntimeError("E77")
    assert "host:0 failed in matmul, in step 7 of 3 tokens." in str(raised.value)
    assert "the fan stands still" in str(raised.value)
    assert raised.value.remedy == "clean it"


def test_other_errors_pass() -> None:
    with pytest.raises(RuntimeError, match=r"^shapes differ$"), memory_errors_explained(TalkativePlatform(), "step 7"):
        raise RuntimeError("shapes differ")
