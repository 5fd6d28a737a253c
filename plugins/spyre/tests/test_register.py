"""What discovery hears from this plugin, with and without the vendor's package, which must not be imported to tell."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

import vllm_spyre
from vllm.plugins import Unavailable

PLATFORM = "vllm_spyre.platform.SpyrePlatform"


@pytest.fixture
def vendor_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that cannot be imported."""
    (tmp_path / "torch_sendnn.py").write_text("raise OSError('a vendor library is missing')")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()


def test_without_the_vendors_package_it_says_so_and_what_else_runs_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VLLM_SPYRE_DYNAMO_BACKEND")
    with pytest.raises(Unavailable) as refused:
        vllm_spyre.register()
    assert "torch_sendnn, the card's compiler, is not installed" in refused.value.reason
    assert "VLLM_SPYRE_DYNAMO_BACKEND is not set, which means sendnn" in refused.value.reason
    assert "inductor, eager or checked" in refused.value.remedy


def test_it_says_what_it_looked_for_and_where(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_SPYRE_DYNAMO_BACKEND", "sendnn")
    monkeypatch.setenv("SPYRE_DEVICES", "here")
    with pytest.raises(Unavailable) as refused:
        vllm_spyre.register()
    assert refused.value.probes["Python package torch_sendnn"].startswith("not in ")
    assert refused.value.probes["environment variable SPYRE_DEVICES"] == "here"
    assert len(refused.value.probes) == 5


@pytest.mark.parametrize("backend", ["eager", "inductor", "checked"])
def test_a_backend_for_the_cpu_needs_no_card(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_SPYRE_DYNAMO_BACKEND", backend)
    assert vllm_spyre.register() == PLATFORM


def test_a_backend_that_there_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_SPYRE_DYNAMO_BACKEND", "eagre")
    with pytest.raises(Unavailable, match="'eagre', but it must be one of sendnn, inductor, eager, checked"):
        vllm_spyre.register()


@pytest.mark.usefixtures("vendor_package")
def test_with_the_vendors_package_it_does_not_import_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VLLM_SPYRE_DYNAMO_BACKEND")
    assert vllm_spyre.register() == PLATFORM
    assert "torch_sendnn" not in sys.modules
