"""Owns the command `vllm plugin new`: a complete plugin package, written from the templates in `assets/plugin_template`.

As generated it runs on the CPU as the device's stand-in. Nothing is overwritten, and nothing stays behind where writing fails.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from keyword import iskeyword, issoftkeyword
from pathlib import Path
from shlex import quote
from string import Template

from vllm.entrypoints.cli.errors import UsageError, as_usage_errors
from vllm.plugins.api_range import CORE_DISTRIBUTION, canonical, core_version

__all__ = ["add_parser", "check_name", "run", "write_plugin"]

_TEMPLATES = Path(__file__).parents[2] / "assets" / "plugin_template"
_FILES = {
    "pyproject.toml": "pyproject.toml",
    "setup.py": "setup.py",
    "README.md": "README.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "LICENSE": "LICENSE",
    ".gitignore": "gitignore",
    "src/$package/__init__.py": "__init__.py",
    "src/$package/py.typed": "py.typed",
    "src/$package/platform.py": "platform.py",
    "src/$package/attention.py": "attention.py",
    "src/$package/worker.py": "worker.py",
    "src/$package/communicator.py": "communicator.py",
    "tests/test_conformance.py": "test_conformance.py",
    "tests/test_platform.py": "test_platform.py",
}
"""File of the package → its template, without `.tmpl`."""
_RESERVED = frozenset({"core", "cpu_ref", "plugin", "test", "tests", "testing", "vllm"})
"""Names of ours, or that would read as such in a distribution's name."""


def add_parser(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `vllm plugin new`."""
    what = "write a new plugin: a complete package that runs on the CPU until you put your device in"
    parser = actions.add_parser("new", help=what, description=what[0].upper() + what[1:] + ".")
    parser.add_argument(
        "name", metavar="NAME", help="the platform's name: small letters and digits, words parted by _, like mychip"
    )
    parser.add_argument("--dest", metavar="DIR", type=Path, help="folder of the package (default: vllm-plugin-NAME)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the package and say what to do next; returns the exit status."""
    folder = args.dest or Path(_names_of(args.name)["distribution"])
    written = write_plugin(args.name, folder)
    print(f"Wrote {len(written)} files to {folder}:", *(f"  {path}" for path in written), sep="\n")
    print("\nNext:", *(f"  {command}" for command in _next_steps(args.name, folder)), sep="\n")
    return 0


def write_plugin(name: str, folder: Path) -> tuple[Path, ...]:
    """Write the plugin `name` as the new folder `folder`; gives its files, relative to it.

    Raises:
        UsageError: a name that cannot be used or is taken, or a folder that holds something already.
    """
    check_name(name)
    _check_folder(folder)
    words = {**_names_of(name), "core_range": _core_range()}
    with as_usage_errors():  # read-only, or below a file
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        written = tuple(_write_files(draft, words))
        draft.chmod(0o755)  # temporary folders are their owner's alone
        _put(draft, folder)
    except BaseException:
        shutil.rmtree(draft)
        raise
    return written


def _put(draft: Path, folder: Path) -> None:
    """Complete, or not at all. An empty folder stays the one it is: a shell may stand in it, as with `--dest .`"""
    if not folder.exists():
        draft.rename(folder)
        return
    for path in draft.iterdir():
        path.rename(folder / path.name)
    draft.rmdir()


def check_name(name: str) -> None:
    """Pass if a new platform can be called `name`. Imports nothing of other plugins.

    Raises:
        UsageError: not an identifier in small letters, reserved, or taken by what is installed.
    """
    words = name.split("_")  # "chip_" and "my__chip" would make distributions that no index takes
    if not (name.isascii() and name.isidentifier() and name == name.lower() and all(words)):
        letters = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in name.lower())
        near = "_".join(filter(None, letters.split("_")))
        raise UsageError(
            f"A platform cannot be called {name!r}: it becomes part of module names.",
            remedy="use small letters and digits, single _ between them, beginning with a letter",
            candidates=[near] if near.isidentifier() else [],
        )
    if name in _RESERVED or iskeyword(name) or issoftkeyword(name):
        raise UsageError(f"The name {name!r} is reserved.", remedy="choose another one, such as your chip's")
    _check_not_taken(name)


def _check_not_taken(name: str) -> None:
    from vllm.plugins.discovery import installed_plugins

    names = _names_of(name)
    for plugin in installed_plugins():
        if plugin.name == name or canonical(plugin.distribution) == names["distribution"]:
            raise UsageError(
                f"The name {name!r} is taken by an installed plugin: {plugin}.",
                remedy=f"choose another name, or pip uninstall {plugin.distribution}",
            )
    if find_spec(names["package"]) is not None:  # looks, and imports nothing
        raise UsageError(
            f"The name {name!r} is taken: a Python package {names['package']} is installed already.",
            remedy="choose another name, or uninstall what brought that package",
        )


def _check_folder(folder: Path) -> None:
    """An empty folder is as good as none."""
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise UsageError(
            f"{folder} exists already and is not an empty folder; nothing was written.",
            remedy="name a new folder with --dest, or move that one away",
        )


def _names_of(name: str) -> dict[str, str]:
    """What the templates call the plugin by."""
    dashed = name.replace("_", "-")
    title = "".join(part.capitalize() for part in name.split("_"))
    return {
        "name": name,
        "title": title,
        "dashed": dashed,
        "distribution": f"vllm-plugin-{dashed}",
        "package": f"vllm_{name}",
    }


def _core_range() -> str:
    """From this core's minor version, development versions included, up to the next."""
    version = core_version()
    if version is None:
        raise UsageError(
            f"{CORE_DISTRIBUTION} is not installed, so the versions that a new plugin fits are unknown.",
            remedy=f"pip install {CORE_DISTRIBUTION}, or pip install -e core in its repository",
        )
    from packaging.version import Version

    major, minor = Version(version).release[:2]
    return f">={major}.{minor}.dev0,<{major}.{minor + 1}.dev0"


def _write_files(folder: Path, words: dict[str, str]) -> Iterator[Path]:
    """Render every file below `folder`; gives their paths relative to it."""
    for path, template in _FILES.items():
        text = (_TEMPLATES / f"{template}.tmpl").read_text(encoding="utf-8")
        relative = Path(Template(path).substitute(words))
        target = folder / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(Template(text).substitute(words), encoding="utf-8")
        yield relative


def _next_steps(name: str, folder: Path) -> Iterator[str]:
    yield f"{Path(sys.executable).name} -m pip install -e {quote(str(folder))}"
    yield f'VLLM_PLATFORM={name} vllm generate "Count: 17 18 19"'
    yield f"vllm plugin test {name}"
    yield f"then read {folder / 'README.md'}: what to change first"
