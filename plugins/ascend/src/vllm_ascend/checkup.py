"""Owns the questions that decide whether an NPU can be used here, each with its reason and remedy where the answer is no. No torch."""

from __future__ import annotations

import ctypes
from importlib.metadata import PackageNotFoundError, version

from vllm.plugins import Probes, Unavailable
from vllm_ascend import cann
from vllm_ascend.pairing import cann_mismatch, torch_mismatch

__all__ = ["check_usable"]

SUPPORTED_SOCS = ("Ascend910B", "Ascend910_93")
"""Atlas A2 and A3: the chips for which npu_fused_infer_attention_score and npu_scatter_pa_kv_cache are documented."""
_USE_CPU = "to run on the CPU instead, install vllm-plugin-cpu-ref"
_SET_ENV = "install CANN and source its set_env.sh (/usr/local/Ascend/ascend-toolkit/set_env.sh)"


def check_usable(probes: Probes) -> None:
    """Return if an NPU can be used; `probes` keeps what was looked for.

    Raises:
        Unavailable: no torch_npu, no CANN, no supported NPU, or versions that do not fit each other.
    """
    _look_around(probes)
    torch_npu = _check_wheels(probes)
    runtime = _check_toolkit(probes, torch_npu)
    _check_devices(probes, runtime)


def _look_around(probes: Probes) -> None:
    """For `vllm plugin doctor` alone: the usual places."""
    for variable in (*cann.TOOLKIT_VARIABLES, "LD_LIBRARY_PATH", "ASCEND_RT_VISIBLE_DEVICES"):
        probes.variable(variable)
    for path in ("/usr/local/Ascend/driver", "/dev/davinci[0-9]*"):
        probes.path(path)


def _check_wheels(probes: Probes) -> str:
    """torch_npu's version."""
    if not probes.package("torch_npu"):
        raise _no(probes, "the Python package torch_npu is not installed", f"pip install torch-npu; {_USE_CPU}")
    torch, torch_npu = _version("torch"), _version("torch-npu")
    probes.findings["versions of torch and torch_npu"] = f"{torch or 'unknown'} and {torch_npu or 'unknown'}"
    if torch is None:
        raise _no(probes, "torch_npu is installed, but torch is not", "pip install torch")
    if torch_npu is None:
        raise _no(probes, "torch_npu has no metadata, so that its version is unknown", "pip install torch-npu")
    if misfit := torch_mismatch(torch, torch_npu):
        raise _no(probes, *misfit)
    return torch_npu


def _check_toolkit(probes: Probes, torch_npu: str) -> ctypes.CDLL:
    """CANN's runtime library."""
    toolkit = cann.find_toolkit()
    release = cann.toolkit_version(toolkit) if toolkit else None
    probes.findings["CANN toolkit"] = f"{release or 'of unknown version'} at {toolkit}" if toolkit else "not found"
    if release and (misfit := cann_mismatch(torch_npu, release)):
        raise _no(probes, *misfit)
    try:
        runtime = cann.load_runtime()
    except OSError as error:
        probes.findings[cann.RUNTIME] = str(error)
        raise _no(probes, f"CANN's runtime cannot be loaded: {error}", f"{_SET_ENV}; {_USE_CPU}") from error
    probes.findings[cann.RUNTIME] = "loaded"
    return runtime


def _check_devices(probes: Probes, runtime: ctypes.CDLL) -> None:
    devices, code = cann.device_count(runtime)
    chip = cann.soc_name(runtime)
    probes.findings["NPUs"] = f"{devices} × {chip or 'unknown chip'}" + (f", runtime error {code}" if code else "")
    if code or not devices:
        why = f"its runtime answered with error {code}" if code else "it finds no NPU that this process may use"
        remedy = "check `npu-smi info`, the driver, and ASCEND_RT_VISIBLE_DEVICES"
        raise _no(probes, f"CANN is installed, but {why}", f"{remedy}; {_USE_CPU}")
    if chip and not chip.startswith(SUPPORTED_SOCS):
        reason = f"the NPU is an {chip}, and the attention operators used here are made for Atlas A2 and A3"
        raise _no(probes, reason, f"use an {' or '.join(SUPPORTED_SOCS)}; {_USE_CPU}")


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _no(probes: Probes, reason: str, remedy: str) -> Unavailable:
    return Unavailable(reason, remedy, probes=probes.findings)
