"""From a dotted path to the object, or a sentence that says what is wrong with it."""

from __future__ import annotations

from collections import OrderedDict

import pytest

from vllm.errors import ConfigError, PluginError
from vllm.plugins.dotted import load_dotted, load_subclass


@pytest.mark.parametrize("path", ["collections.OrderedDict", "collections:OrderedDict"])
def test_both_spellings(path: str) -> None:
    assert load_dotted(path) is OrderedDict


@pytest.mark.parametrize("path", ["", "OrderedDict", ".OrderedDict", "a b.C", "collections.", "collections..x", "1.x"])
def test_no_dotted_path(path: str) -> None:
    with pytest.raises(PluginError, match="is not a dotted path"):
        load_dotted(path)


def test_a_missing_name_gets_a_near_one() -> None:
    with pytest.raises(
        PluginError, match=r"^The module collections has no 'OrderdDict'. Did you mean 'OrderedDict'\?$"
    ):
        load_dotted("collections.OrderdDict")


def test_a_missing_module_is_an_import_error() -> None:
    with pytest.raises(ImportError, match="nochip"):
        load_dotted("nochip.platform.Chip")


def test_load_subclass() -> None:
    assert load_subclass("collections.OrderedDict", dict, option="--x") is OrderedDict
    with pytest.raises(ConfigError, match=r"^--x names 'collections.deque', which is no subclass of builtins.dict.$"):
        load_subclass("collections.deque", dict, option="--x")
    with pytest.raises(
        ConfigError, match=r"--x names 'nochip.Chip', which cannot be loaded: ModuleNotFoundError: No module named"
    ):
        load_subclass("nochip.Chip", dict, option="--x")
