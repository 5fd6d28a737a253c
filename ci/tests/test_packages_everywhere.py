"""A plugin that is added to `ci/packages.py` is checked by every tool: no list forgets it."""

from __future__ import annotations

import configparser

import pytest

from ci.packages import PLUGINS, ROOT, Package

PLUGIN_CONTRACTS = ("plugins-apart", "plugins-use-contracts")


def ini(name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / name)
    return parser


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda plugin: plugin.name)
def test_every_list_has_every_plugin(plugin: Package) -> None:
    linter, mypy = ini(".importlinter"), ini("mypy.ini")
    assert plugin.import_name in linter["importlinter"]["root_packages"].split()
    for contract in PLUGIN_CONTRACTS:
        section = linter[f"importlinter:contract:{contract}"]
        assert plugin.import_name in section.get("modules", section.get("source_modules", "")).split(), contract
    assert f"{plugin.folder}/src" in mypy["mypy"]["mypy_path"].split(":")
    strict = next(section for section in mypy.sections() if "vllm.platforms.interface" in section)
    assert f"{plugin.import_name}.*" in strict.removeprefix("mypy-").split(",")
    assert f"{plugin.folder}/tests" in ini("pytest.ini")["pytest"]["testpaths"].split()
