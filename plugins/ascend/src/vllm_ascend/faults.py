"""Owns what an error of torch_npu says about the device: the operator, CANN's error code, and what to do about it. No torch.

Operators are queued: an error may come out of a later call than the one that caused it, and its text names the operator.
Codes: acl/error_codes/rt_error_codes.h among torch_npu's headers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

from vllm.platforms import DeviceFault

__all__ = ["fault_of"]

_OPERATOR = (
    re.compile(r"fault kernel_name=(\w+)"),
    re.compile(r"current working operator name is (\w+)"),
    re.compile(r"\b((?:aclnn|Hccl)[A-Z]\w*)"),
    re.compile(r"function error: (\w+)"),
)
_CODE = re.compile(r"error code(?: is |:)(\d+)")
_OF_THE_DEVICE = re.compile(
    r"\bERR\d\d(?:011|100|200|300)\b|current working operator name is|function error: |ACL stream synchronize"
)
"""torch_npu ends its texts with a code: two digits for its part, three for the kind: 011 time-out, 100 ACL, 200 HCCL, 300 graph engine.
Other kinds are wrong arguments."""
_USE_BLOCKING = "set ASCEND_LAUNCH_BLOCKING=1 to see the call that fails, and look into the logs under ~/ascend/log"
_RESET = "check `npu-smi info`; a device that is lost comes back after a reset or a restart of the driver"

_MEANINGS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "107020": (
            "a task did not end in time: a collective whose peers did not come, or an operator that hangs",
            _USE_BLOCKING,
        ),
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


def fault_of(error: Exception, device: str, ask_again: Callable[[], str]) -> DeviceFault | None:
    """None where the error is not from torch_npu's device side.

    Args:
        device: its name, as the message shall have it.
        ask_again: what the device says when it is asked once more; a failed copy tells less than a failed synchronisation.
    """
    text = str(error)
    if not isinstance(error, RuntimeError) or not _OF_THE_DEVICE.search(text):
        return None
    operator, code = _operator(text), _code(text)
    if operator is None or code is None:  # a queued operator is named without its code
        last_words = ask_again()
        operator, code = operator or _operator(last_words), code or _code(last_words)
    meaning, remedy = _MEANINGS.get(code or "", (text.strip().splitlines()[0], _USE_BLOCKING))
    cause = f"CANN's error {code}: {meaning}" if code else meaning
    return DeviceFault(what=f"{device} failed" + (f" in {operator}" if operator else ""), cause=cause, remedy=remedy)


def _code(text: str) -> str | None:
    return found[1] if (found := _CODE.search(text)) else None


def _operator(text: str) -> str | None:
    """The operator where the text names one, else the call of the runtime that told."""
    return next((found[1] for pattern in _OPERATOR if (found := pattern.search(text))), None)
