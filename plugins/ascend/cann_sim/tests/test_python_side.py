"""What this package does before anything is compiled or loaded: settings, the pair of wheels, names of what is built, the command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cann_sim import FaultRuleError, NotActive, PairError, SettingError, cli, settings
from cann_sim.compiler import find_compiler
from cann_sim.counters import Counters, Operation
from cann_sim.errors import CompilerMissing
from cann_sim.faults import checked_rules
from cann_sim.libraries import LIBRARIES, SOURCES, reached_headers
from cann_sim.toolkit import Toolkit, lay_out
from cann_sim.wheels import installed_pair


def test_settings_reach_the_runtime_as_it_reads_them() -> None:
    options = {"devices": 2, "hbm_bytes": "8GiB", "soc": "910B3", "strict": False, "trace": None}
    assert settings.given(options) == {
        "CANN_SIM_DEVICES": "2",
        "CANN_SIM_HBM_BYTES": "8589934592",
        "CANN_SIM_SOC": "Ascend910B3",
        "CANN_SIM_STRICT": "0",
    }


def test_the_same_variables_are_understood_from_the_environment() -> None:
    assert settings.checked({"CANN_SIM_HBM_BYTES": "2MiB", "HOME": "x"}) == {"CANN_SIM_HBM_BYTES": "2097152"}


@pytest.mark.parametrize(
    "variable, text, says",
    [
        ("CANN_SIM_DEVICES", "0", "from 1 to 64"),
        ("CANN_SIM_HBM_BYTES", "8GB", "KiB, MiB, GiB"),
        ("CANN_SIM_STREAMS", "random", "adversarial:SEED"),
        ("CANN_SIM_SOC", "H100", "Ascend910B3"),
        ("CANN_SIM_STRICT", "yes", "0 .off. or 1"),
        ("CANN_SIM_STREAM", "sync", "Did you mean: CANN_SIM_STREAMS"),
    ],
)
def test_a_value_that_means_nothing_is_refused_with_what_does(variable: str, text: str, says: str) -> None:
    with pytest.raises(SettingError, match=says):
        settings.checked({variable: text})


def test_a_toolkit_has_what_a_real_one_is_looked_for() -> None:
    toolkit = Toolkit(path=Path("/cann"))
    assert toolkit.variables({"LD_LIBRARY_PATH": "/other:/cann/lib64"}) == {
        "ASCEND_HOME_PATH": "/cann",
        "ASCEND_TOOLKIT_HOME": "/cann",
        "ASCEND_OPP_PATH": "/cann/opp",
        "LD_LIBRARY_PATH": "/cann/lib64:/other",
    }


def test_a_toolkit_says_its_version_where_a_real_one_does(tmp_path: Path) -> None:
    lay_out(tmp_path)
    (note,) = tmp_path.glob("*-linux/ascend_toolkit_install.info")
    assert "version=8.5.0" in note.read_text().splitlines()
    assert all((tmp_path / name).is_dir() for name in ("lib64", "runtime", "compiler", "opp"))


def wheel(folder: Path, name: str, version: str) -> None:
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "RECORD").write_text(f"{name}/__init__.py,,\n")
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text("raise ImportError('never imported to look')")


@pytest.fixture
def only_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    for name in ("torch", "torch_npu"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


def test_a_missing_wheel_is_named(only_site: Path) -> None:
    wheel(only_site, "torch", "2.13.0+cpu")
    with pytest.raises(PairError, match="torch_npu is not installed"):
        installed_pair()


def test_a_pair_that_does_not_fit_is_refused_with_the_one_that_does(only_site: Path) -> None:
    wheel(only_site, "torch", "2.12.0+cpu")
    wheel(only_site, "torch_npu", "2.13.0")
    with pytest.raises(PairError, match=r"(?s)2\.12\.0\+cpu and torch_npu 2\.13\.0.*torch-npu==2\.12\.0"):
        installed_pair()


def test_a_post_release_fits_and_missing_headers_are_said(only_site: Path) -> None:
    wheel(only_site, "torch", "2.12.0")
    wheel(only_site, "torch_npu", "2.12.0.post3")
    with pytest.raises(PairError, match="lack headers"):
        installed_pair()


def compiler(folder: Path, version: str) -> Path:
    script = folder / "g++"
    script.write_text(f"#!/bin/sh\necho {version}\n")
    script.chmod(0o755)
    return script


def test_no_compiler_and_one_too_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", str(tmp_path / "none"))
    with pytest.raises(CompilerMissing, match=r"(?s)no C\+\+ compiler.*install g\+\+ 11"):
        find_compiler()
    monkeypatch.setenv("CXX", str(compiler(tmp_path, "9.4.0")))
    with pytest.raises(CompilerMissing, match=r"9\.4\.0, too old"):
        find_compiler()
    compiler(tmp_path, "13.2.0")
    assert find_compiler().version == "13.2.0"


def test_headers_are_followed_through_headers() -> None:
    names = {path.relative_to(SOURCES).as_posix() for path in reached_headers(SOURCES / "collectives/launching.cpp")}
    assert {"collectives/launching.h", "collectives/segment.h", "common/simulator.h"} <= names
    assert not any(name.startswith("operators/") for name in names)


def test_every_source_belongs_to_one_library() -> None:
    sources = [source for library in LIBRARIES for source in library.sources()]
    assert sorted(sources) == sorted(SOURCES.rglob("*.cpp"))
    assert len(set(sources)) == len(sources) > 40


class Reader:
    """The runtime's side of the check."""

    def __init__(self, wrong: str) -> None:
        self.wrong = wrong

    def check_faults(self, rules: str) -> str:
        return self.wrong


def test_fault_rules_are_read_by_the_runtime_alone() -> None:
    assert checked_rules("aclnnMatmul#3=fail", Reader("")) == "aclnnMatmul#3=fail"  # type: ignore[arg-type]
    with pytest.raises(FaultRuleError, match=r"(?s)'x' cannot be read: no '='.*PATTERN\[@DEVICE\]"):
        checked_rules("x", Reader("no '='"))  # type: ignore[arg-type]


def counted(calls: int, launches: int, allocated: int) -> Counters:
    memory = f'{{"device": 0, "allocated_bytes": {allocated}, "peak_bytes": 9, "total_bytes": 10}}'
    matmul = f'"aclnnMatmul": {{"calls": {calls}, "launches": {launches}, "bytes": {8 * launches}}}'
    other = '"aclnnAdd": {"calls": 1, "launches": 1, "bytes": 4}'
    return Counters.from_json(
        f'{{"operations": {{{matmul}, {other}}}, "host_calls": 2, "launches": {launches + 1}, '
        f'"graph_launches": 0, "bytes": {8 * launches + 4}, "memory": [{memory}]}}'
    )


def test_a_difference_of_counters_leaves_out_what_did_not_happen() -> None:
    difference = counted(calls=2, launches=5, allocated=7) - counted(calls=1, launches=2, allocated=3)
    assert difference.operations == {"aclnnMatmul": Operation(calls=1, launches=3, bytes=24)}
    assert (difference.launches, difference.bytes, difference.host_calls) == (3, 24, 0)
    assert difference.memory[0].allocated_bytes == 7


def in_a_process(code: str, **environ: str) -> subprocess.CompletedProcess[str]:
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("CANN_SIM_", "ASCEND_", "LD_"))}
    return subprocess.run(
        [sys.executable, "-c", code], env=kept | environ, capture_output=True, text=True, check=False, timeout=300
    )


def test_a_process_that_is_not_simulated_says_so() -> None:
    done = in_a_process("import cann_sim; cann_sim.counters()")
    assert f"{NotActive.__module__}.{NotActive.__name__}" in done.stderr
    assert "cann-sim run -- CMD" in done.stderr


def test_importing_the_package_imports_neither_torch_nor_the_vendor() -> None:
    code = "import sys, cann_sim, cann_sim.cli; print([n for n in sys.modules if n.startswith('torch')])"
    assert in_a_process(code).stdout == "[]\n"


@pytest.mark.parametrize("words", [["run"], ["run", "--"], ["build", "--", "ls"], ["run", "ls"], []])
def test_the_command_to_run_stands_behind_two_dashes(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    assert ended.value.code == 2
    assert "usage: cann-sim" in capsys.readouterr().err


def test_a_command_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "--", "no-such-command"]) == 127
    assert "no-such-command" in capsys.readouterr().err
