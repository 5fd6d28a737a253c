"""A plugin that is added to `ci/packages.py` is checked by every tool: no list forgets it."""

from __future__ import annotations

import configparser

import pytest

from ci.packages import CANN_SIM, PACKAGES, PLUGINS, ROOT, Package

PLUGIN_CONTRACTS = ("plugins-apart", "plugins-use-contracts")


def ini(name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / name)
    return parser


def strictly_typed() -> list[str]:
    return next(section for section in ini("mypy.ini").sections() if "vllm.platforms.interface" in section).split(",")


@pytest.mark.parametrize("entry", PACKAGES, ids=lambda entry: entry.name)
def test_every_list_has_every_package(entry: Package) -> None:
    assert entry.import_name in ini(".importlinter")["importlinter"]["root_packages"].split()
    assert f"{entry.folder}/src" in ini("mypy.ini")["mypy"]["mypy_path"].split(":")
    assert f"{entry.folder}/tests" in ini("pytest.ini")["pytest"]["testpaths"].split()


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda plugin: plugin.name)
def test_every_list_has_every_plugin(plugin: Package) -> None:
    linter = ini(".importlinter")
    for contract in PLUGIN_CONTRACTS:
        section = linter[f"importlinter:contract:{contract}"]
        assert plugin.import_name in section.get("modules", section.get("source_modules", "")).split(), contract
    assert f"{plugin.import_name}.*" in strictly_typed()


def test_the_simulator_is_strictly_typed_too() -> None:
    assert f"{CANN_SIM.import_name}.*" in strictly_typed()
