"""Owns the fixture of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.tests.plugin_site import PluginSite


@pytest.fixture
def site(tmp_path: Path) -> PluginSite:
    """An environment with the core installed and no plugin."""
    return PluginSite(tmp_path / "site")
