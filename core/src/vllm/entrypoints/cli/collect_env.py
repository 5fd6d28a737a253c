"""Owns the command `vllm collect-env`: what a bug report needs to say about a machine. Imports no torch: versions are metadata."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

__all__ = ["add_parser", "collect", "package_versions", "relevant_variables", "run"]

Section: TypeAlias = Mapping[str, str]

_PACKAGES = (
    "vllm-core",
    "torch",
    "transformers",
    "tokenizers",
    "safetensors",
    "numpy",
    "msgspec",
    "llguidance",
    "packaging",
    "pyzmq",
    "ray",
)
_RELEVANT_PREFIXES = ("VLLM_", "TORCH", "OMP_", "KMP_", "GOMP_", "MKL_", "HF_", "TRANSFORMERS_", "NO_COLOR")
_RELEVANT_PARTS = ("VISIBLE_DEVICES", "LD_LIBRARY_PATH", "LD_PRELOAD", "PYTHONPATH")
_SECRET_PARTS = ("TOKEN", "KEY", "SECRET", "PASSWORD")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `vllm collect-env`."""
    what = "print what a bug report should say about this machine"
    parser = subparsers.add_parser("collect-env", help=what, description=what[0].upper() + what[1:] + ".")
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print every section; returns the exit status."""
    sections = collect()
    print(json.dumps(sections, indent=2) if args.json else "\n".join(_as_text(sections)))
    return 0


def collect() -> dict[str, Section]:
    """Section title → what was found. A thing that cannot be found out says so; secrets are not shown."""
    return {
        "System": _system(),
        "Processor and memory": {**_processor(), **_memory()},
        "Packages": package_versions(),
        "Plugins": _plugins(),
        "Environment variables": relevant_variables(os.environ),
    }


def _as_text(sections: Mapping[str, Section]) -> Iterator[str]:
    for title, section in sections.items():
        yield f"{title}:"
        width = max((len(key) for key in section), default=0)
        for key, value in section.items():
            yield f"  {key.ljust(width)}  {value}"
        if not section:
            yield "  none"
        yield ""


def _system() -> Section:
    release = _key_values("/etc/os-release", "=").get("PRETTY_NAME", platform.system())
    return {
        "system": f"{release.strip(chr(34))}, Linux {platform.release()}"
        if platform.system() == "Linux"
        else platform.platform(),
        "architecture": platform.machine(),
        "C library": " ".join(platform.libc_ver()).strip() or "unknown",
        "Python": f"{platform.python_version()} ({platform.python_implementation()}) at {sys.executable}",
    }


def _processor() -> Section:
    info = _key_values("/proc/cpuinfo", ":")
    flags = info.get("flags", info.get("Features", "")).split()
    telling = [flag for flag in flags if flag.startswith(("avx", "amx", "sve", "asimd", "fma"))]
    return {
        "processor": info.get("model name") or platform.processor() or "unknown",
        "cores": f"{len(os.sched_getaffinity(0))} usable of {os.cpu_count()}"
        if hasattr(os, "sched_getaffinity")
        else str(os.cpu_count()),
        "vector units": " ".join(sorted(telling)) or "unknown",
    }


def _memory() -> Section:
    info = _key_values("/proc/meminfo", ":")
    limit = _first_line("/sys/fs/cgroup/memory.max")
    return {
        "memory": f"{_gib(info.get('MemAvailable'))} available of {_gib(info.get('MemTotal'))}",
        "container limit": f"{int(limit) / 2**30:.1f} GiB" if limit.isdigit() else "none",
    }


def _gib(kib: str | None) -> str:
    return f"{int(kib.split()[0]) / 2**20:.1f} GiB" if kib else "unknown"


def package_versions() -> Section:
    """What the engine stands on → its installed version, by metadata."""
    from importlib.metadata import PackageNotFoundError, version

    def found(name: str) -> str:
        try:
            return version(name)
        except PackageNotFoundError:
            return "not installed"

    return {name: found(name) for name in _PACKAGES}


def _plugins() -> Section:
    from vllm.platforms.listing import report_plugins

    report = report_plugins()
    lines = {
        f"{row.name} ({row.group})": f"{row.distribution} {row.version}: {row.status}"
        + (f": {row.reason}" if row.reason else "")
        for row in report.rows
    }
    collisions = {package.distribution: str(package) for package in report.upstream_packages}
    return {**lines, **collisions, "platform that would run": report.chosen or f"none. {report.problem}"}


def relevant_variables(environ: Mapping[str, str]) -> Section:
    """The variables that vLLM or a library below it reads; secrets are not shown."""
    return {name: _shown(name, environ[name]) for name in sorted(environ) if _is_relevant(name)}


def _is_relevant(name: str) -> bool:
    return name.startswith(_RELEVANT_PREFIXES) or any(part in name for part in _RELEVANT_PARTS)


def _shown(name: str, value: str) -> str:
    return "(set, not shown)" if any(part in name for part in _SECRET_PARTS) and value else value


def _key_values(path: str, separator: str) -> dict[str, str]:
    """The lines "key<separator>value" of a file of the system; the first of each key. Nothing where there is no such file."""
    pairs: dict[str, str] = {}
    for line in _text(path).splitlines():
        key, found, value = line.partition(separator)
        if found:
            pairs.setdefault(key.strip(), value.strip())
    return pairs


def _first_line(path: str) -> str:
    return _text(path).partition("\n")[0].strip()


def _text(path: str) -> str:
    """The file's text, empty where this system has no such file."""
    return Path(path).read_text(encoding="utf-8", errors="replace") if os.access(path, os.R_OK) else ""
