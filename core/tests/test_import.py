"""`import vllm` does nothing; its names come when they are used."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import vllm
from core.tests.plugin_site import CORE_VERSION, PluginSite

HEAVY = "sorted(set('torch numpy transformers tokenizers safetensors msgspec packaging logging asyncio'.split()) & set(sys.modules))"


@pytest.fixture
def site(tmp_path: Path) -> PluginSite:
    return PluginSite(tmp_path / "site")


def test_importing_the_package_does_nothing(site: PluginSite) -> None:
    loaded = site.ask("sorted(name for name in sys.modules if name.startswith('vllm'))", setup="import sys, vllm")
    assert loaded == ["vllm"]
    assert site.ask(HEAVY, setup="import sys, vllm") == []
    assert site.ask("'TORCH_DEVICE_BACKEND_AUTOLOAD' in os.environ", setup="import os, vllm") is False


def test_the_version_is_the_installed_one(site: PluginSite) -> None:
    assert site.ask("vllm.__version__", setup="import vllm") == CORE_VERSION


def test_what_type_checkers_see_is_what_is_loaded() -> None:
    """The TYPE_CHECKING imports, `__all__` and the table of homes name the same things."""
    tree = ast.parse(Path(vllm.__file__).read_text(encoding="utf-8"))
    imports = [
        node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("vllm.")
    ]
    seen = {
        alias.name: node.module
        for node in imports
        for alias in node.names
        if node.col_offset == 4 and alias.name[0].isupper()
    }
    assert seen == vllm._HOME
    assert set(vllm.__all__) == {*vllm._HOME, "__version__"}
    assert set(vllm.__all__) <= set(dir(vllm))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'vllm' has no attribute 'LLMS'"):
        vllm.LLMS  # noqa: B018


def test_a_name_is_the_one_of_its_home() -> None:
    from vllm.sampling_params import SamplingParams

    assert vllm.SamplingParams is SamplingParams
