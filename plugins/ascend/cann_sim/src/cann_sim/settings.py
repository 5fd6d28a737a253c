"""Owns the settings of a simulated machine: one table gives the `CANN_SIM_*` variables, the options of `cann-sim run` and their checks.

The runtime reads the variables, in every process by itself; here they are checked before anything runs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from cann_sim.errors import SettingError

__all__ = ["PREFIX", "SETTINGS", "Setting", "checked", "given"]

PREFIX = "CANN_SIM_"
_MOST_DEVICES = 64
_UNITS = {"": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """One setting: `check` gives the value as the runtime reads it, or raises `ValueError` with what is wanted."""

    name: str
    check: Callable[[str], str]
    meaning: str
    default: str
    metavar: str

    @property
    def variable(self) -> str:
        return PREFIX + self.name.upper()

    @property
    def option(self) -> str:
        return "--" + self.name.replace("_", "-")


def _devices(text: str) -> str:
    if not text.isdecimal() or not 1 <= int(text) <= _MOST_DEVICES:
        raise ValueError(f"a number of devices is from 1 to {_MOST_DEVICES}")
    return text


def _bytes(text: str) -> str:
    found = re.fullmatch(r"(\d+)\s*(KiB|MiB|GiB|)", text)
    if not found or int(found[1]) == 0:
        raise ValueError("memory is a number of bytes, or of KiB, MiB, GiB: 8GiB")
    return str(int(found[1]) * _UNITS[found[2]])


def _soc(text: str) -> str:
    name = text if text.startswith("Ascend") else f"Ascend{text}"
    if not re.fullmatch(r"Ascend(910|310|950)\w*(-1)?", name):
        raise ValueError("SoCs are named as by npu-smi: Ascend910B3, Ascend910_9391, Ascend310P3")
    return name


def _streams(text: str) -> str:
    if not re.fullmatch(r"sync|async|adversarial(:\d+)?", text):
        raise ValueError("streams are sync, async, adversarial or adversarial:SEED")
    return text


def _switch(text: str) -> str:
    if text not in ("0", "1"):
        raise ValueError("it is 0 (off) or 1 (on)")
    return text


def _version(text: str) -> str:
    if not re.fullmatch(r"\d+\.\d+\.\w+", text):
        raise ValueError("a version of CANN reads 8.5.0 or 8.2.RC1")
    return text


def _text(text: str) -> str:
    if not text:
        raise ValueError("it is empty")
    return text


def _setting(name: str, check: Callable[[str], str], metavar: str, default: str, meaning: str) -> Setting:
    return Setting(name=name, check=check, metavar=metavar, default=default, meaning=meaning)


SETTINGS = (
    _setting("devices", _devices, "N", "1", "how many NPUs there are"),
    _setting("hbm_bytes", _bytes, "SIZE", "8GiB", "memory of each; bytes, or 512MiB, 8GiB"),
    _setting("soc", _soc, "NAME", "Ascend910B3", "which NPU: Ascend910B3, Ascend910_9391, Ascend310P3, ..."),
    _setting("cann_version", _version, "VERSION", "8.5.0", "the version of CANN that is reported"),
    _setting(
        "streams",
        _streams,
        "MODE",
        "async",
        "sync (a call returns when its work has run), async (a stream is a thread), adversarial[:SEED] (work runs as "
        "late and in as unhelpful an order as dependencies permit, the same way for the same seed)",
    ),
    _setting("strict", _switch, "0|1", "1", "1: the host faults when it touches device memory, which comes unset"),
    _setting("trace", _switch, "0|1", "0", "1: a line on standard error for each operation"),
    _setting("faults", _text, "RULES", "", "what fails and when: 'aclnnMatmul#3=fail; Hccl*=timeout'"),
    _setting("counters", _text, "FILE", "", "counters go there at exit, as JSON; %%p in it is the process id"),
)


def _valid(setting: Setting, text: str, where: str) -> str:
    try:
        return setting.check(text)
    except ValueError as wrong:
        raise SettingError(f"{where} is {text!r}: {wrong}", remedy=f"default: {setting.default or 'none'}") from None


def checked(environ: Mapping[str, str]) -> dict[str, str]:
    """The `CANN_SIM_*` variables of an environment, as the runtime reads them; raises `SettingError` for one unknown or wrong."""
    known = {setting.variable: setting for setting in SETTINGS}
    found = {name: text for name, text in environ.items() if name.startswith(PREFIX) and text}
    for name in sorted(found.keys() - known.keys()):
        raise SettingError(
            f"there is no variable {name}",
            remedy="`cann-sim run --help` lists them",
            candidates=get_close_matches(name, known),
        )
    return {name: _valid(known[name], text, f"the variable {name}") for name, text in found.items()}


def given(options: Mapping[str, object]) -> dict[str, str]:
    """Settings by name, `None` for not given, as variables; raises `SettingError` for one unknown or wrong."""
    known = {setting.name: setting for setting in SETTINGS}
    values: dict[str, str] = {}
    for name, value in options.items():
        if name not in known:
            close = get_close_matches(name, known)
            raise SettingError(f"there is no setting {name!r}", remedy=", ".join(known), candidates=close)
        if value is not None:
            text = str(int(value)) if isinstance(value, bool) else str(value)
            values[known[name].variable] = _valid(known[name], text, name)
    return values
