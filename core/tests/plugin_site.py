"""Owns throw-away plugin distributions: a folder with real packages and real metadata, and a process that sees nothing else.

No test here mocks discovery: the metadata is read by importlib.metadata, the plugin is imported, the process is a new one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import packaging

CORE_SRC = Path(__file__).parents[1] / "src"
CORE_VERSION = "0.1.0.dev0+gabc1234"
PLATFORM = "vllm.platform_plugins"

PLATFORM_MODULE = """
from vllm.platforms import Platform

class FakePlatform(Platform):
    name = "{name}"
    device_type = "cpu"
    is_fallback = {is_fallback}

    def get_device_name(self, device_id=0): return "a fake"
    def memory_info(self, device_id=0): return (1, 2)
    def supported_dtypes(self): return ("float32",)
    def get_attn_backend_cls(self): return "nowhere.Backend"
    def capabilities(self): return {{}}
"""


@dataclass
class PluginSite:
    """A folder that stands for site-packages."""

    folder: Path
    timeout_s: float = 60
    env: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(exist_ok=True)
        (self.folder / "packaging").symlink_to(Path(packaging.__file__).parent)
        self.add_distribution("vllm-core", version=CORE_VERSION)

    def add_distribution(
        self,
        name: str,
        *,
        version: str = "1.0",
        requires: Iterable[str] = (),
        entry_points: str = "",
        folder: Path | None = None,
    ) -> Path:
        """Only the metadata of a distribution."""
        info = (folder or self.folder) / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        lines = [
            "Metadata-Version: 2.1",
            f"Name: {name}",
            f"Version: {version}",
            *(f"Requires-Dist: {line}" for line in requires),
        ]
        (info / "METADATA").write_text("\n".join(lines) + "\n")
        (info / "entry_points.txt").write_text(entry_points)
        return info

    def add_module(self, name: str, source: str) -> None:
        (self.folder / f"{name}.py").write_text(textwrap.dedent(source))

    def add_plugin(
        self,
        name: str,
        source: str,
        *,
        group: str = PLATFORM,
        attribute: str = "register",
        requires: Iterable[str] = ("vllm-core>=0.1.dev0,<0.2.dev0",),
        distribution: str | None = None,
    ) -> None:
        """A distribution `vllm-plugin-NAME` whose module `plugin_NAME` holds `source`."""
        self.add_module(f"plugin_{name}", source)
        self.add_distribution(
            distribution or f"vllm-plugin-{name.replace('_', '-')}",
            requires=requires,
            entry_points=f"[{group}]\n{name} = plugin_{name}:{attribute}\n",
        )

    def add_platform(self, name: str, *, is_fallback: bool = False, before: str = "") -> None:
        """A healthy platform plugin; `before` runs in its register()."""
        self.add_module(f"platform_{name}", PLATFORM_MODULE.format(name=name, is_fallback=is_fallback))
        body = f"{before}\nreturn 'platform_{name}.FakePlatform'"
        self.add_plugin(name, "def register():\n" + textwrap.indent(textwrap.dedent(body), "    "))

    def run(self, code: str, *, check: bool = True, **env: str) -> subprocess.CompletedProcess[str]:
        """Run `code` in a new Python that sees this folder, the core's source and the standard library, and nothing else."""
        result = subprocess.run(
            [sys.executable, "-S", "-c", textwrap.dedent(code)],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": f"{self.folder}{os.pathsep}{CORE_SRC}", **self.env, **env},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=self.timeout_s,
            check=False,
        )
        assert not check or result.returncode == 0, result.stderr
        return result

    def ask(self, expression: str, *, setup: str = "", **env: str) -> Any:
        """The value of `expression` in such a process, as JSON carries it."""
        code = f"import json\n{textwrap.dedent(setup)}\nprint(json.dumps({expression}))"
        return json.loads(self.run(code, check=True, **env).stdout.splitlines()[-1])


def messages(stderr: str) -> list[str]:
    """The log's messages without the prefix `INFO 02-06 15:49:01 file.py:30] `."""
    return [line.partition("] ")[2] for line in stderr.splitlines()]
