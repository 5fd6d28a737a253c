"""Owns what can be learnt of CANN without torch: where the toolkit lies, its version, and what its runtime says of the devices.

The runtime library is loaded by its bare name, as torch_npu's import will find it: through LD_LIBRARY_PATH, which CANN's `set_env.sh` sets.
"""

from __future__ import annotations

import ctypes
import os
import re
from pathlib import Path

__all__ = ["TOOLKIT_VARIABLES", "device_count", "find_toolkit", "load_runtime", "soc_name", "toolkit_version"]

RUNTIME = "libascendcl.so"
TOOLKIT_VARIABLES = ("ASCEND_HOME_PATH", "ASCEND_TOOLKIT_HOME")
DEFAULT_TOOLKITS = ("/usr/local/Ascend/cann", "/usr/local/Ascend/ascend-toolkit/latest")
_NOTES = ("*-linux/ascend_toolkit_install.info", "compiler/version.info", "runtime/version.info")


def find_toolkit() -> Path | None:
    """The toolkit's folder: where its variables point, else where its installer puts it."""
    named = [os.environ[name] for name in TOOLKIT_VARIABLES if os.environ.get(name)]
    folders = map(Path, (*named, *DEFAULT_TOOLKITS))
    return next((folder for folder in folders if folder.is_dir()), None)


def toolkit_version(toolkit: Path) -> str | None:
    """The version that its own notes give, such as "8.5.0"; None where none of them does."""
    for pattern in _NOTES:
        for note in sorted(toolkit.glob(pattern)):
            found = re.search(r"^version\s*=\s*(\S+)", note.read_text(errors="replace"), re.IGNORECASE | re.MULTILINE)
            if found:
                return found[1]
    return None


def load_runtime() -> ctypes.CDLL:
    """The runtime library; OSError, with the loader's own words, where it or what it needs is missing."""
    return ctypes.CDLL(RUNTIME)


def device_count(runtime: ctypes.CDLL) -> tuple[int, int]:
    """(devices that this process may use, error code of the runtime: 0 where it could tell)."""
    count = ctypes.c_uint32(0)
    code = int(runtime.aclrtGetDeviceCount(ctypes.byref(count)))
    return count.value, code


def soc_name(runtime: ctypes.CDLL) -> str | None:
    """The chip, such as "Ascend910B3"; None where the runtime does not say."""
    ask = runtime.aclrtGetSocName
    ask.restype = ctypes.c_char_p
    name: bytes | None = ask()
    return name.decode() if name else None
