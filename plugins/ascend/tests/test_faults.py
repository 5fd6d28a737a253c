"""What is made of torch_npu's errors: texts as torch_npu 2.13.0 writes them, shortened in the middle."""

from __future__ import annotations

import pytest

from vllm.platforms import DeviceFault
from vllm_ascend import faults

QUEUED = """The process exits for this inner error, and the current working operator name is aclnnInplaceCopy.
Since the operator is called asynchronously, the stacktrace may be inaccurate.
[ERROR] 2026-11-22-11:25:08 (PID:12936, Device:0, RankID:-1) ERR00100 PTA call acl api failed.
"""
AT_ONCE = """operator():../opapi/MatmulKernelNpuOpApi.cpp:25 NPU function error: call aclnnMatmul failed, error code is 507015
[ERROR] 2026-11-22-11:22:01 (PID:11350, Device:0, RankID:-1) ERR00100 PTA call acl api failed.
EZ9999: Inner Error!
"""
SYNCHRONISED = """npuSynchronizeDevice:../NPUStream.cpp:449 NPU function error: AclrtSynchronizeDeviceWithTimeout, error code is 507010
[ERROR] 2026-11-22-11:22:01 (PID:11350, Device:0, RankID:-1) ERR00100 PTA call acl api failed.
"""
COLLECTIVE = """HCCL function error: HcclAllReduce(inputDataPtr, outputDataPtr), error code is 9
[ERROR] 2026-11-22-11:22:01 (PID:11350, Device:0, RankID:1) ERR02200 DIST call hccl api failed.
"""
COPIED = "ACL stream synchronize failed, error code:507015"
LAST_WORDS = SYNCHRONISED + "[AIC_INFO] after execute: fault kernel_name=FusedInferAttentionScore_3e, func_name=main"


def fault_of(error: Exception, last_words: str = "") -> DeviceFault | None:
    return faults.fault_of(error, "npu:0 (Ascend910B3)", lambda: last_words)


def test_a_copy_says_little_and_the_device_is_asked_again() -> None:
    fault = fault_of(RuntimeError(COPIED), LAST_WORDS)
    assert fault is not None
    assert fault.what == "npu:0 (Ascend910B3) failed in FusedInferAttentionScore_3e"
    assert fault.cause == "CANN's error 507015: a core met an exception, such as an address outside its tensors"


def test_a_queued_operator() -> None:
    fault = fault_of(RuntimeError(QUEUED))
    assert fault is not None
    assert fault.what == "npu:0 (Ascend910B3) failed in aclnnInplaceCopy"
    assert "ASCEND_LAUNCH_BLOCKING" in (fault.remedy or "")


def test_a_queued_operator_on_a_lost_device() -> None:
    """The host was ahead: an operator behind the one that lost the device is told of first, without a code."""
    fault = fault_of(RuntimeError(QUEUED), SYNCHRONISED)
    assert fault is not None
    assert fault.what == "npu:0 (Ascend910B3) failed in aclnnInplaceCopy"
    assert fault.cause == "CANN's error 507010: the device's heartbeat is lost"
    assert "npu-smi" in (fault.remedy or "")


def test_an_operator_with_cann_s_code() -> None:
    fault = fault_of(RuntimeError(AT_ONCE))
    assert fault is not None
    assert fault.what == "npu:0 (Ascend910B3) failed in aclnnMatmul"
    assert fault.cause == "CANN's error 507015: a core met an exception, such as an address outside its tensors"


def test_a_lost_device() -> None:
    fault = fault_of(RuntimeError(SYNCHRONISED))
    assert fault is not None
    assert fault.what == "npu:0 (Ascend910B3) failed in AclrtSynchronizeDeviceWithTimeout"
    assert fault.cause == "CANN's error 507010: the device's heartbeat is lost"
    assert "npu-smi" in (fault.remedy or "")


def test_a_collective() -> None:
    fault = fault_of(RuntimeError(COLLECTIVE))
    assert fault is not None
    assert fault.what == "npu:0 (Ascend910B3) failed in HcclAllReduce"


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("mat1 and mat2 shapes cannot be multiplied\n[ERROR] (PID:1) ERR01002 OPS invalid type"),
        IndexError("index 9 is out of bounds\n[ERROR] (PID:1) ERR01003 OPS invalid value"),
        ValueError("ERR00100"),
    ],
)
def test_wrong_arguments_are_not_the_devices(error: Exception) -> None:
    assert fault_of(error) is None
