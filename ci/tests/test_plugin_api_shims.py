"""Shims are read from sources and judged by core's next version; the reader knows every helper there is."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from packaging.version import Version

from ci.packages import CORE
from ci.plugin_api.shims import HELPERS, due_shims, find_shims
from ci.versions import next_version

FILE = Path("a.py")


def test_a_shim_is_due_when_the_next_version_is_the_one_it_goes_in(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(
        'import deprecation\n\n@deprecation.deprecated(instead="x", goes_in="0.3")\ndef f(): ...'
    )
    assert due_shims(tmp_path, Version("0.2.9.dev0")) == []
    for coming in ("0.3.0.dev0", "0.3.1", "1.0"):
        (shim,) = due_shims(tmp_path, Version(coming))
        assert (shim.line, shim.goes_in) == (3, "0.3")


@pytest.mark.parametrize("call", ['moved_name(m, "X", X, instead="y")', 'old_override("m", lacks="x", goes_in=SOON)'])
def test_a_shim_without_a_literal_version_is_refused(call: str) -> None:
    with pytest.raises(ValueError, match=r"a\.py:2: \w+ needs goes_in as a literal text"):
        list(find_shims(FILE, f"\n{call}"))


def test_the_helpers_are_those_of_the_module() -> None:
    module = ast.parse((CORE.path / "src/vllm/deprecation.py").read_text())
    functions = [node.name for node in module.body if isinstance(node, ast.FunctionDef)]
    assert {name for name in functions if not name.startswith("_")} == set(HELPERS)


def test_no_shim_of_this_tree_is_due() -> None:
    assert [str(shim) for shim in due_shims(CORE.path / "src", next_version(CORE))] == []
