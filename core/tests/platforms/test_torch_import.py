"""A vendor wheel whose libraries are missing breaks `import torch`, unless the platform was resolved first."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

from core.tests.plugin_site import PluginSite

pytest.importorskip("torch")


@pytest.fixture
def broken_vendor(site: PluginSite) -> PluginSite:
    """What torch_npu does without CANN: an entry point that torch calls while it is imported, and that fails."""
    site.add_module("vendor_npu", "raise ImportError('libascendcl.so: cannot open shared object file')")
    site.add_distribution("vendor-npu", entry_points="[torch.backends]\nvendor_npu = vendor_npu:autoload\n")
    return site


def import_torch(site: PluginSite, before: str) -> subprocess.CompletedProcess[str]:
    """In a process with this environment's own packages, torch among them."""
    environ = {name: value for name, value in os.environ.items() if name != "TORCH_DEVICE_BACKEND_AUTOLOAD"}
    return subprocess.run(
        [sys.executable, "-c", f"{before}\nimport torch; print(torch.ones(2).sum().item())"],
        env={**environ, "PYTHONPATH": f"{site.folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_torch_alone_fails(broken_vendor: PluginSite) -> None:
    assert "libascendcl.so" in import_torch(broken_vendor, "").stderr


@pytest.mark.parametrize(
    "before",
    [
        "from vllm.platforms import prepare_torch_import; prepare_torch_import()",
        "from vllm import SamplingParams",
        "from vllm.entrypoints.cli.main import main; main(['plugin', 'test', 'nobody'])",
    ],
    ids=["asked for", "by any name of vllm", "by the conformance kit"],
)
def test_torch_after_ours_works(broken_vendor: PluginSite, before: str) -> None:
    result = import_torch(broken_vendor, before)
    assert result.stdout == "2.0\n", result.stderr


WITHOUT_CANN = pytest.mark.skipif(
    find_spec("torch_npu") is None, reason="torch_npu is not installed; `nox -s cann_sim` has it"
)
GENERATE = "from vllm.entrypoints.cli.main import main; main(['generate', 'Count: 17 18 19'])"


def without_cann(code: str) -> subprocess.CompletedProcess[str]:
    """In a process that finds no CANN, though torch_npu is installed."""
    dropped = ("ASCEND_", "LD_LIBRARY_PATH", "TORCH_DEVICE_BACKEND_AUTOLOAD", "CANN_SIM_")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    return subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False, timeout=240
    )


@WITHOUT_CANN
def test_the_real_torch_npu_without_cann_breaks_torch() -> None:
    failed = without_cann("import torch")
    assert failed.returncode != 0
    assert "torch_npu" in failed.stderr


@WITHOUT_CANN
def test_the_real_torch_npu_without_cann_breaks_no_generation_on_another_platform() -> None:
    done = without_cann(GENERATE)
    assert "20 21 22" in done.stdout, done.stderr
    assert "Platform plugin cpu_ref is activated" in done.stderr
