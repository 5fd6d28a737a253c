"""The packages of this repository as data: folder, distribution, import package, tag prefix."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["CANN_SIM", "CORE", "PACKAGES", "PLUGINS", "ROOT", "Package", "owner", "package"]

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, kw_only=True, slots=True)
class Package:
    """One independently versioned package."""

    name: str
    folder: str
    distribution: str
    import_name: str
    tag_prefix: str
    extension: str | None = None
    """The compiled module that every wheel of it holds, in it and in `src`; None where the package is pure Python."""

    @property
    def path(self) -> Path:
        return ROOT / self.folder

    @property
    def wheel_glob(self) -> str:
        return f"{self.distribution.replace('-', '_')}-*.whl"


_EXTENSIONS = {"cpu_ref": "vllm_cpu_ref/native/_kernels.abi3.so"}


def _plugin(name: str) -> Package:
    dashed = name.replace("_", "-")
    return Package(
        name=name,
        folder=f"plugins/{name}",
        distribution=f"vllm-plugin-{dashed}",
        import_name=f"vllm_{name}",
        tag_prefix=f"{dashed}-v",
        extension=_EXTENSIONS.get(name),
    )


CORE = Package(name="core", folder="core", distribution="vllm-core", import_name="vllm", tag_prefix="core-v")
PLUGINS = tuple(_plugin(name) for name in ("cpu_ref", "ascend", "spyre"))
CANN_SIM = Package(
    name="cann_sim",
    folder="plugins/ascend/cann_sim",
    distribution="cann-sim",
    import_name="cann_sim",
    tag_prefix="cann-sim-v",
)
PACKAGES = (CORE, *PLUGINS, CANN_SIM)


def owner(file: str) -> Package | None:
    """The package whose folder holds the file, the innermost one: cann_sim lies in ascend's."""
    holding = [entry for entry in PACKAGES if file.startswith(f"{entry.folder}/")]
    return max(holding, key=lambda entry: len(entry.folder), default=None)


def package(name: str) -> Package:
    """The package called `name` (`core`, `cpu_ref`, ...); raises `KeyError` that lists the known names."""
    known = {entry.name: entry for entry in PACKAGES}
    if name not in known:
        raise KeyError(f"no package {name!r}; known: {', '.join(known)}")
    return known[name]
