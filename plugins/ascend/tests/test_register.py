"""What discovery hears where no NPU can be used: the reason and the remedy, and nothing of the vendor's is imported to find out."""

from __future__ import annotations

import importlib
import sys
from importlib import metadata
from pathlib import Path

import pytest

import vllm_ascend
from vllm.plugins import Unavailable
from vllm_ascend import cann


class Machine:
    """A folder on sys.path that plays site-packages, and one that plays CANN's toolkit. Nothing in it can be imported or loaded."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._site, self._toolkit, self._patch = folder / "site", folder / "toolkit", monkeypatch
        self._site.mkdir()
        monkeypatch.syspath_prepend(self._site)
        for variable in (*cann.TOOLKIT_VARIABLES, "LD_LIBRARY_PATH"):
            monkeypatch.delenv(variable, raising=False)
        monkeypatch.setattr(cann, "DEFAULT_TOOLKITS", ())
        monkeypatch.setattr(cann, "RUNTIME", str(self._toolkit / "lib64" / "libascendcl.so"))

    def install(self, name: str, version: str) -> None:
        (self._site / f"{name}.py").write_text("raise OSError('a vendor library is missing')")
        info = self._site / f"{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        importlib.invalidate_caches()

    def install_cann(self, version: str) -> None:
        note = self._toolkit / "x86_64-linux" / "ascend_toolkit_install.info"
        note.parent.mkdir(parents=True)
        note.write_text(f"package_name=Ascend-cann-toolkit\nversion={version}\narch=x86_64\n")
        self._patch.setenv("ASCEND_HOME_PATH", str(self._toolkit))

    def install_runtime(self) -> None:
        library = Path(cann.RUNTIME)
        library.parent.mkdir(parents=True)
        library.write_text("no library")

    def refusal(self) -> Unavailable:
        with pytest.raises(Unavailable) as refused:
            vllm_ascend.register()
        return refused.value


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def has_torch_npu() -> bool:
    return any(distribution.name in ("torch-npu", "torch_npu") for distribution in metadata.distributions())


@pytest.mark.skipif(has_torch_npu(), reason="torch_npu is installed here")
def test_without_the_vendors_package_it_says_so_and_what_else_runs_here(machine: Machine) -> None:
    refused = machine.refusal()
    assert refused.reason == "the Python package torch_npu is not installed"
    assert "vllm-plugin-cpu-ref" in refused.remedy
    assert refused.probes["Python package torch_npu"].startswith("not in ")


def test_without_cann_it_gives_the_loaders_words(machine: Machine) -> None:
    machine.install("torch", "2.13.0")
    machine.install("torch_npu", "2.13.0")
    refused = machine.refusal()
    assert refused.reason.startswith("CANN's runtime cannot be loaded:")
    assert "libascendcl.so" in refused.reason
    assert "set_env.sh" in refused.remedy
    assert refused.probes["CANN toolkit"] == "not found"
    assert refused.probes["versions of torch and torch_npu"] == "2.13.0 and 2.13.0"


def test_a_damaged_runtime_is_no_traceback(machine: Machine) -> None:
    machine.install("torch", "2.13.0")
    machine.install("torch_npu", "2.13.0")
    machine.install_cann("8.5.0")
    machine.install_runtime()
    assert "CANN's runtime cannot be loaded" in machine.refusal().reason


def test_wheels_that_do_not_fit_are_refused_with_the_pair_that_does(machine: Machine) -> None:
    machine.install("torch", "2.12.0")
    machine.install("torch_npu", "2.13.0")
    refused = machine.refusal()
    assert refused.reason == "torch_npu 2.13.0 is made for torch 2.13.0, but torch 2.12.0 is installed"
    assert "torch-npu==2.12.0" in refused.remedy


def test_a_toolkit_that_does_not_fit_is_refused_before_anything_is_loaded(machine: Machine) -> None:
    machine.install("torch", "2.9.0")
    machine.install("torch_npu", "2.9.0")
    machine.install_cann("8.3.RC1")
    refused = machine.refusal()
    assert refused.reason == "torch_npu 2.9.0 runs on CANN 8.5, but the toolkit found is CANN 8.3.RC1"
    assert "libascendcl.so" not in refused.probes


def test_nothing_of_the_vendors_is_imported(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.install("torch", "2.13.0")
    machine.install("torch_npu", "2.13.0")
    for module in [name for name in sys.modules if name.partition(".")[0] == "torch_npu"]:
        monkeypatch.delitem(sys.modules, module)
    machine.refusal()
    assert "torch_npu" not in sys.modules
