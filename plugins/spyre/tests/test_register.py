"""What discovery hears from this plugin, with and without the vendor's package, which must not be imported to tell."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

import vllm_spyre
from vllm.plugins import Unavailable


def test_without_the_vendors_package_it_says_so_and_what_else_runs_here() -> None:
    with pytest.raises(Unavailable) as refused:
        vllm_spyre.register()
    assert "torch_sendnn is not installed" in refused.value.reason
    assert "vllm-plugin-cpu-ref" in refused.value.remedy


def test_it_says_what_it_looked_for_and_where(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPYRE_DEVICES", "here")
    with pytest.raises(Unavailable) as refused:
        vllm_spyre.register()
    assert refused.value.probes["Python package torch_sendnn"].startswith("not in ")
    assert refused.value.probes["environment variable SPYRE_DEVICES"] == "here"
    assert len(refused.value.probes) == 4


def test_with_the_vendors_package_it_does_not_import_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torch_sendnn.py").write_text("raise OSError('a vendor library is missing')")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    with pytest.raises(Unavailable) as refused:
        vllm_spyre.register()
    assert refused.value.reason.startswith("torch_sendnn is installed, but this release of vllm-plugin-spyre")
    assert "torch_sendnn" not in sys.modules
