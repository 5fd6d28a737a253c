"""Owns what an error of torch_npu says about the device: the operator, CANN's error code, and what to do about it. No torch.

Operators are queued: an error may come out of a later call than the one that caused it, and its text names the operator.
Codes: acl/error_codes/rt_error_codes.h among torch_npu's headers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from vllm.platforms import DeviceFault

__all__ = ["fault_of"]

_OPERATOR = (
    re.compile(r"current working operator name is (\w+)"),
    re.compile(r"call (\w+) failed"),
    re.compile(r"\b(Hccl\w+)"),
)
_CODE = re.compile(r"error code (?:is |: ?)?(\d{6})\b|\b(507\d{3})\b")
_OF_THE_DEVICE = re.compile(
    r"ERR0[0-9]1?00|ERR99999|NPU (?:function )?error|HCCL|Hccl|call \w+ failed, error code|Inner error"
)
_USE_BLOCKING = "set ASCEND_LAUNCH_BLOCKING=1 to see the call that fails, and look into the logs under ~/ascend/log"
_RESET = "check `npu-smi info`; a device that is lost comes back after a reset or a restart of the driver"

_MEANINGS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "507010": ("the device's heartbeat is lost", _RESET),
        "507014": ("a core ran longer than allowed", _USE_BLOCKING),
        "507015": ("a core met an exception, such as an address outside its tensors", _USE_BLOCKING),
        "507018": ("an AI CPU operator met an exception", _USE_BLOCKING),
        "507046": ("a stream did not end in time", _USE_BLOCKING),
        "507053": ("the device's memory failed", _RESET),
        "507054": ("the device's memory has errors that cannot be corrected", _RESET),
        "507056": ("the link between devices failed", _RESET),
        "507899": ("the driver failed", _RESET),
        "507901": ("the connection to the device is closed", _RESET),
    }
)


def fault_of(error: Exception, device: str) -> DeviceFault | None:
    """None where the error is not from torch_npu's device side. `device`: its name, as the message shall have it."""
    text = str(error)
    if not isinstance(error, RuntimeError) or not _OF_THE_DEVICE.search(text):
        return None
    operator = next((found[1] for pattern in _OPERATOR if (found := pattern.search(text))), None)
    code = _first_code(text)
    meaning, remedy = _MEANINGS.get(code or "", ("", _USE_BLOCKING))
    first_line = text.strip().splitlines()[0]
    cause = f"CANN's error {code}: {meaning or first_line}" if code else first_line
    return DeviceFault(what=f"{device} failed" + (f" in {operator}" if operator else ""), cause=cause, remedy=remedy)


def _first_code(text: str) -> str | None:
    found = _CODE.search(text)
    return (found[1] or found[2]) if found else None
