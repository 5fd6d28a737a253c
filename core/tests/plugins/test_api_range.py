"""Which core a plugin fits, from its metadata alone."""

from __future__ import annotations

import pytest

from vllm.plugins.api_range import canonical, declared_range, range_refusal


@pytest.mark.parametrize(
    "lines, expected",
    [
        ([], None),
        (["torch>=2.6", "vllm-core-extras>=1"], None),
        (["vllm-core"], ""),
        (["vllm-core<0.2.dev0,>=0.1.dev0"], ">=0.1.dev0,<0.2.dev0"),
        (["Vllm_Core>=0.1"], ">=0.1"),
        (["vllm-core[testing]>=0.3 ; extra == 'testing'"], None),
        (["vllm-core>=0.1", "vllm-core<1 ; python_version >= '3'"], ">=0.1,<1"),
        (["vllm-core>=0.1", "vllm-core<0.1 ; python_version < '3'"], ">=0.1"),
        (["this line [is somebody else's fault", "vllm-core>=0.1"], ">=0.1"),
    ],
)
def test_declared_range(lines: list[str], expected: str | None) -> None:
    assert declared_range(lines) == expected


@pytest.mark.parametrize("name", ["Vllm_Core", "vllm--core", "VLLM_-core", "vllm._-core", "vllm-core"])
def test_runs_of_marks_are_one(name: str) -> None:
    assert canonical(name) == "vllm-core"


@pytest.mark.parametrize(
    "wanted, found, fits",
    [
        (">=0.1.dev0,<0.2.dev0", "0.1.0.dev0+g1234567", True),
        (">=0.1.dev0,<0.2.dev0", "0.1.0", True),
        (">=0.1.dev0,<0.2.dev0", "0.1.7", True),
        (">=0.1.dev0,<0.2.dev0", "0.2.0.dev0+g1234567", False),
        (">=0.1.dev0,<0.2.dev0", "0.2.0", False),
        (">=0.1", "0.1.0.dev0+g1234567", False),  # a development version comes before its release
        (">=99", "0.1.0", False),
        ("", "0.1.0.dev0", True),
    ],
)
def test_fits(wanted: str, found: str, fits: bool) -> None:
    refusal = range_refusal(plugin="chip", distribution="vllm-plugin-chip", wanted=wanted, found=found)
    assert (refusal is None) == fits


def test_the_refusal_names_plugin_range_found_version_and_remedy() -> None:
    refusal = range_refusal(plugin="chip", distribution="vllm-plugin-chip", wanted=">=99", found="0.1.0")
    assert str(refusal) == (
        "The plugin chip (vllm-plugin-chip) wants vllm-core >=99, but vllm-core 0.1.0 is installed.\n"
        "  Remedy: pip install 'vllm-core>=99', or a release of vllm-plugin-chip that fits vllm-core 0.1.0"
    )
