"""Owns how what is built presents itself: as a CANN toolkit, with the folders, the notes and the variables of a real one.

Whoever looks for CANN — torch_npu's own check, a plugin's `register()` — looks where the toolkit's `set_env.sh` points:
`ASCEND_HOME_PATH`, in it `lib64/`, `runtime/`, `compiler/` and a file `ascend_toolkit_install.info` with the version.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["CANN_VERSION", "Toolkit", "lay_out"]

CANN_VERSION = "8.5.0"
_FOLDERS = ("lib64", "runtime", "compiler", "opp", "include")


@dataclass(frozen=True, kw_only=True, slots=True)
class Toolkit:
    """A folder that looks like an installed CANN toolkit."""

    path: Path

    @property
    def libraries(self) -> Path:
        return self.path / "lib64"

    def variables(self, environ: Mapping[str, str]) -> dict[str, str]:
        """What the toolkit's `set_env.sh` would set, given what is set now."""
        paths = [entry for entry in environ.get("LD_LIBRARY_PATH", "").split(os.pathsep) if entry]
        own = str(self.libraries)
        return {
            "ASCEND_HOME_PATH": str(self.path),
            "ASCEND_TOOLKIT_HOME": str(self.path),
            "ASCEND_OPP_PATH": str(self.path / "opp"),
            "LD_LIBRARY_PATH": os.pathsep.join([own, *(entry for entry in paths if entry != own)]),
        }


def lay_out(folder: Path) -> Toolkit:
    """The folders and the notes, in an empty `folder`; the libraries are still to come."""
    for name in _FOLDERS:
        (folder / name).mkdir(parents=True)
    machine = platform.machine()
    install = folder / f"{machine}-linux"
    install.mkdir()
    lines = (
        "package_name=Ascend-cann-toolkit",
        f"version={CANN_VERSION}",
        f"arch={machine}",
        "os=linux",
        f"path={install}",
        "simulated_by=cann-sim",
    )
    (install / "ascend_toolkit_install.info").write_text("\n".join(lines) + "\n")
    for place in ("runtime", "compiler", "opp"):
        (folder / place / "version.info").write_text(f"Version={CANN_VERSION}\n")
    return Toolkit(path=folder)
