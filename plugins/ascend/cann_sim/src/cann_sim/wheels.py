"""Owns which pair of wheels the simulator is compiled against: the installed torch and torch_npu, found without an import.

torch_npu is released once for each torch: the two carry the same X.Y.Z, torch_npu may add `.postN`.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from cann_sim.errors import PairError

__all__ = ["Pair", "Wheel", "installed_pair"]

_INSTALL_PAIR = "pip install torch==2.13.0 && pip install --no-deps torch-npu==2.13.0 (any pair with the same X.Y.Z)"


@dataclass(frozen=True, kw_only=True, slots=True)
class Wheel:
    """An installed distribution. `build` tells two builds of one version apart: the digest of its list of files."""

    name: str
    version: str
    build: str
    folder: Path

    @property
    def release(self) -> str:
        """X.Y.Z, without local version and post release."""
        found = re.match(r"\d+\.\d+(\.\d+)?", self.version)
        return found[0] if found else self.version


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """The two wheels that fit each other."""

    torch: Wheel
    torch_npu: Wheel

    @property
    def key(self) -> str:
        """Names what is compiled against this pair; equal for the same wheels in another place."""
        torch, npu = self.torch, self.torch_npu
        return f"torch-{torch.version}-{torch.build[:8]}--torch_npu-{npu.version}-{npu.build[:8]}"

    @property
    def torch_includes(self) -> tuple[Path, ...]:
        root = self.torch.folder / "include"
        return (root, root / "torch" / "csrc" / "api" / "include")

    @property
    def cann_includes(self) -> tuple[Path, ...]:
        """The headers of CANN that the torch_npu wheel carries."""
        root = self.torch_npu.folder / "include"
        return (root, root / "third_party" / "acl" / "inc", root / "third_party" / "hccl" / "inc")

    @property
    def torch_libraries(self) -> Path:
        return self.torch.folder / "lib"


def _wheel(name: str) -> Wheel:
    try:
        distribution = metadata.distribution(name)
    except metadata.PackageNotFoundError as missing:
        raise PairError(f"{name} is not installed here", remedy=_INSTALL_PAIR) from missing
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise PairError(
            f"{name} {distribution.version} is installed, but no package {name} can be imported",
            cause="a module of the same name lies before it in sys.path, or the installation is damaged",
        )
    listed = distribution.read_text("RECORD") or distribution.read_text("METADATA") or ""
    build = hashlib.sha256(_comparable(listed).encode()).hexdigest()
    return Wheel(name=name, version=distribution.version, build=build, folder=Path(spec.submodule_search_locations[0]))


def _comparable(record: str) -> str:
    """The list of files without what an installer adds: compiled Python, console scripts, notes of its own."""
    added = ("__pycache__", "../", "INSTALLER", "REQUESTED", "direct_url.json", "RECORD")
    return "\n".join(sorted(line for line in record.splitlines() if not any(part in line for part in added)))


def installed_pair() -> Pair:
    """The pair in this environment; raises `PairError` where one is missing or they do not fit."""
    pair = Pair(torch=_wheel("torch"), torch_npu=_wheel("torch_npu"))
    if pair.torch.release != pair.torch_npu.release:
        raise PairError(
            f"torch {pair.torch.version} and torch_npu {pair.torch_npu.version} do not fit each other",
            cause="each torch_npu is built for one torch, the one with the same X.Y.Z",
            remedy=f"pip install --no-deps torch-npu=={pair.torch.release}",
        )
    missing = [str(folder) for folder in (*pair.torch_includes, *pair.cann_includes) if not folder.is_dir()]
    if missing:
        raise PairError(f"the installed wheels lack headers: {', '.join(missing)}", remedy=_INSTALL_PAIR)
    return pair
