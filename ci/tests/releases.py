"""Small wheels and sdists for tests of the release: a package of one module, in the house's form."""

from __future__ import annotations

import io
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from ci.environments import Environment
from ci.packages import ROOT

__all__ = ["HERE", "METADATA", "make_sdist", "make_wheel"]

HERE = Environment(path=Path(sys.prefix))
"""The environment of the tests, which holds the tools of a release."""

METADATA = """\
Metadata-Version: 2.4
Name: vllm-plugin-cpu-ref
Version: 0.1.0
Summary: A small one
License-Expression: Apache-2.0
License-File: LICENSE
Requires-Python: >=3.10
Description-Content-Type: text/markdown
Requires-Dist: vllm-core<0.2.dev0,>=0.1.dev0
Requires-Dist: numpy>=1.26
Requires-Dist: torch>=2.6; extra == "torch"

# A readme
"""
_WHEEL = "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: {tag}\n"


def make_wheel(
    folder: Path, *, metadata: str = METADATA, tag: str = "py3-none-any", more: Mapping[str, bytes] | None = None
) -> Path:
    """A wheel of `vllm_cpu_ref` 0.1.0 with these further members."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"vllm_plugin_cpu_ref-0.1.0-{tag}.whl"
    info = "vllm_plugin_cpu_ref-0.1.0.dist-info"
    members: dict[str, bytes] = {
        "vllm_cpu_ref/__init__.py": b'"""One."""\n',
        **(more or {}),
        f"{info}/METADATA": metadata.encode(),
        f"{info}/WHEEL": _WHEEL.format(tag=tag).encode(),
        f"{info}/licenses/LICENSE": (ROOT / "LICENSE").read_bytes(),
    }
    lines = [f"{name},," for name in [*members, f"{info}/RECORD"]]
    with zipfile.ZipFile(path, "w") as wheel:
        for name, content in members.items():
            wheel.writestr(name, content)
        wheel.writestr(f"{info}/RECORD", "\n".join(lines) + "\n")
    return path


def make_sdist(folder: Path, *, mtime_s: int = 1_700_000_000, reverse: bool = False, mode: int = 0o644) -> Path:
    """An sdist with a licence; times, order and modes as a careless builder leaves them."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "vllm_plugin_cpu_ref-0.1.0.tar.gz"
    names = {"LICENSE": (ROOT / "LICENSE").read_bytes(), "PKG-INFO": METADATA.encode()}
    with tarfile.open(path, "w:gz") as archive:
        for name in sorted(names, reverse=reverse):
            member = tarfile.TarInfo(f"vllm_plugin_cpu_ref-0.1.0/{name}")
            member.size, member.mtime, member.uname, member.mode = len(names[name]), mtime_s, "somebody", mode
            archive.addfile(member, io.BytesIO(names[name]))
    return path
