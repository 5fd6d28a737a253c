"""Probes look without importing, and keep what they looked for."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from vllm.plugins import Probes


def test_a_package_is_found_without_importing_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torch_chip.py").write_text("raise OSError('no driver')")
    monkeypatch.syspath_prepend(tmp_path)
    probes = Probes()
    assert probes.package("torch_chip") and not probes.package("torch_other_chip")
    assert "torch_chip" not in sys.modules
    assert probes.findings["Python package torch_chip"] == f"at {tmp_path / 'torch_chip.py'}"


def test_a_part_of_a_package_is_refused_because_looking_would_import_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "chip_whole").mkdir()
    (tmp_path / "chip_whole" / "__init__.py").write_text("raise OSError('no driver')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=r"'chip_whole\.part' would import 'chip_whole'"):
        Probes().package("chip_whole.part")
