"""Packages declare what they import."""

from __future__ import annotations

import pytest

from ci.dependencies import declared, imported, undeclared
from ci.packages import PACKAGES, Package


def test_imports_are_seen_wherever_they_stand() -> None:
    source = (
        "import os.path\nfrom numpy import array\nfrom . import near\ndef late():\n    import yaml.nodes as nodes\n"
    )
    assert sorted(imported(source)) == ["numpy", "os", "yaml"]


def test_dependencies_and_extras_are_read() -> None:
    text = (
        '[project]\nname = "x"\ndependencies = [\n    "torch>=2.6",\n    "Jinja2>=3.1",\n]\n\n'
        '[project.optional-dependencies]\ntesting = ["pytest>=8", "vllm-core[testing]"]\n\n[tool.x]\ny = ["numpy"]\n'
    )
    assert declared(text) == {"torch", "jinja2", "pytest", "vllm-core"}


@pytest.mark.parametrize("entry", PACKAGES, ids=lambda entry: entry.name)
def test_nothing_is_imported_that_is_not_declared(entry: Package) -> None:
    assert undeclared(entry) == {}
