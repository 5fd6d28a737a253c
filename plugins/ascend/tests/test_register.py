"""What discovery hears from this plugin, with and without the vendor's package, which must not be imported to tell."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

import vllm_ascend
from vllm.plugins import Unavailable


def test_without_the_vendors_package_it_says_so_and_what_else_runs_here() -> None:
    with pytest.raises(Unavailable) as refused:
        vllm_ascend.register()
    assert "torch_npu is not installed" in refused.value.reason
    assert "vllm-plugin-cpu-ref" in refused.value.remedy


def test_it_says_what_it_looked_for_and_where(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASCEND_HOME_PATH", "here")
    with pytest.raises(Unavailable) as refused:
        vllm_ascend.register()
    assert refused.value.probes["Python package torch_npu"].startswith("not in ")
    assert refused.value.probes["environment variable ASCEND_HOME_PATH"] == "here"
    assert len(refused.value.probes) == 7


def test_with_the_vendors_package_it_does_not_import_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torch_npu.py").write_text("raise OSError('a vendor library is missing')")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    with pytest.raises(Unavailable) as refused:
        vllm_ascend.register()
    assert refused.value.reason.startswith("torch_npu is installed, but this release of vllm-plugin-ascend")
    assert "torch_npu" not in sys.modules
