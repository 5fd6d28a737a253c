"""The files of a release: the same bytes each time, the right metadata, and only the machine code that the name promises."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from packaging.version import Version

from ci.packages import ROOT, package
from ci.release.alone import third_party
from ci.release.archives import Archives, digest, normalise_sdist, require_equal
from ci.release.materials import bill_of_materials
from ci.release.metadata import check_metadata
from ci.release.native import check_machine_code, machine_code
from ci.release.refusal import Refused
from ci.tests.releases import HERE, METADATA, make_sdist, make_wheel

CPU_REF = package("cpu_ref")
LICENCE = (ROOT / "LICENSE").read_text()
EPOCH_S = 1_600_000_000


def test_two_builds_of_an_sdist_become_the_same_bytes(tmp_path: Path) -> None:
    one = make_sdist(tmp_path / "one")
    two = make_sdist(tmp_path / "two", mtime_s=1_800_000_000, reverse=True, mode=0o664)
    assert digest(one) != digest(two)
    for path in (one, two):
        normalise_sdist(path, EPOCH_S)
    assert digest(one) == digest(two)
    listed = subprocess.run(["tar", "tzvf", one], capture_output=True, text=True, check=True, env={"TZ": "UTC"}).stdout
    assert listed.splitlines()[0].split()[:1] == ["-rw-r--r--"]
    assert "2020-09-13 12:26" in listed.splitlines()[0]


def test_wheels_that_differ_are_refused_by_the_name_of_what_differs(tmp_path: Path) -> None:
    one = make_wheel(tmp_path / "one")
    require_equal("one", one, "the same", one)
    two = make_wheel(tmp_path / "two", more={"vllm_cpu_ref/left_over.py": b""})
    with pytest.raises(Refused, match=r"in vllm_cpu_ref/left_over\.py, vllm_plugin_cpu_ref-0\.1\.0\.dist-info/RECORD"):
        require_equal("the wheel built from the sdist", one, "the wheel built from the tree", two)


def archives(tmp_path: Path, metadata: str = METADATA) -> Archives:
    return Archives(sdist=make_sdist(tmp_path), wheel=make_wheel(tmp_path, metadata=metadata))


def test_good_metadata_passes(tmp_path: Path) -> None:
    check_metadata(CPU_REF, Version("0.1.0"), archives(tmp_path), LICENCE, HERE)


@pytest.mark.parametrize(
    "old, new, told",
    [
        ("Version: 0.1.0\n", "Version: 0.1.1\n", r"Version is '0\.1\.1' instead of '0\.1\.0'"),
        ("License-Expression: Apache-2.0\n", "License-Expression: MIT\n", "License-Expression is 'MIT'"),
        ("Requires-Dist: vllm-core<0.2.dev0,>=0.1.dev0\n", "", "does not say which versions of vllm-core"),
        ("Requires-Python: >=3.10\n", "", "Requires-Python is missing"),
        ("text/markdown", "text/x-rst", r"(?s)twine says:.*warn|twine says"),
    ],
)
def test_bad_metadata_is_refused(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert METADATA.count(old) == 1
    changed = METADATA.replace(old, new) + ("\n`broken <\n===\n" if "rst" in new else "")
    with pytest.raises(Refused, match=told):
        check_metadata(CPU_REF, Version("0.1.0"), archives(tmp_path, changed), LICENCE, HERE)


def test_a_wheel_without_the_houses_licence_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="instead of the repository's LICENSE"):
        check_metadata(CPU_REF, Version("0.1.0"), archives(tmp_path), LICENCE + "and more", HERE)


def test_a_wheel_with_bytecode_is_refused(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, more={"vllm_cpu_ref/__pycache__/x.pyc": b"\0"})
    with pytest.raises(Refused, match="check-wheel-contents says"):
        check_metadata(CPU_REF, Version("0.1.0"), replace(archives(tmp_path / "other"), wheel=wheel), LICENCE, HERE)


def test_what_a_wheel_asks_for_here_is_read_from_its_metadata(tmp_path: Path) -> None:
    assert third_party([make_wheel(tmp_path)]) == ("numpy",)


def test_a_pure_wheel_is_for_any_machine(tmp_path: Path) -> None:
    assert check_machine_code(make_wheel(tmp_path), HERE).startswith("pure Python")
    with pytest.raises(Refused, match="holds no machine code"):
        check_machine_code(make_wheel(tmp_path, tag="py3-none-manylinux_2_28_x86_64"), HERE)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A shared library that needs nothing but an old libc."""
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("no gcc here")
    folder = tmp_path_factory.mktemp("library")
    (folder / "one.c").write_text("int one(void) { return 1; }\n")
    command = [compiler, "-shared", "-fPIC", "-o", str(folder / "one.so"), str(folder / "one.c")]
    subprocess.run(command, check=True)
    return (folder / "one.so").read_bytes()


def test_machine_code_is_found_by_content_and_wants_a_manylinux_name(tmp_path: Path, library: bytes) -> None:
    more = {"vllm_cpu_ref/kernels.bin": library}
    pure = make_wheel(tmp_path, more=more)
    assert machine_code(pure) == ["vllm_cpu_ref/kernels.bin"]
    for wheel in (pure, make_wheel(tmp_path, tag="py3-none-linux_x86_64", more=more)):
        with pytest.raises(Refused, match="auditwheel repair"):
            check_machine_code(wheel, HERE)


def test_auditwheel_decides_whether_the_name_is_kept(tmp_path: Path, library: bytes) -> None:
    wheel = make_wheel(tmp_path, tag="py3-none-manylinux_2_28_x86_64", more={"vllm_cpu_ref/one.so": library})
    assert "found by auditwheel: no compiler is needed" in check_machine_code(wheel, HERE)


def test_the_bill_lists_what_is_there_and_forgets_this_machine() -> None:
    def component(name: str, *urls: str) -> dict[str, object]:
        links = [{"type": "distribution", "url": url} for url in urls]
        return {"name": name, "bom-ref": name, "version": "1", "externalReferences": links}

    found = {
        "components": [
            component("vllm-plugin-cpu-ref", "file:///home/somebody/wheel.whl"),
            component("numpy", "https://numpy.org"),
            component("pip"),
        ],
        "dependencies": [{"ref": "pip"}, {"ref": "vllm-plugin-cpu-ref", "dependsOn": ["numpy", "pip"]}],
    }
    bill = bill_of_materials(found, CPU_REF)
    assert [each["name"] for each in bill["components"]] == ["numpy"]
    assert bill["metadata"]["component"] == {
        "name": "vllm-plugin-cpu-ref",
        "bom-ref": "vllm-plugin-cpu-ref",
        "version": "1",
        "type": "library",
        "purl": "pkg:pypi/vllm-plugin-cpu-ref@1",
    }
    assert bill["dependencies"] == [{"ref": "vllm-plugin-cpu-ref", "dependsOn": ["numpy"]}]
