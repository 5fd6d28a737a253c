"""The files of a release: the same bytes each time, the right metadata, and only the machine code that the name promises."""

from __future__ import annotations

import platform
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
from ci.release.native import as_manylinux, check_machine_code, machine_code
from ci.release.refusal import Refused
from ci.tests.releases import HERE, METADATA, make_sdist, make_wheel

CPU_REF, SPYRE = package("cpu_ref"), package("spyre")
LICENCE = (ROOT / "LICENSE").read_text()
EPOCH_S = 1_600_000_000
needs_x86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="the names below are those of x86_64")


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
    wheel = make_wheel(tmp_path)
    assert as_manylinux(wheel, HERE) == wheel
    assert check_machine_code(SPYRE, wheel, HERE).startswith("pure Python")
    with pytest.raises(Refused, match="holds no machine code"):
        check_machine_code(SPYRE, make_wheel(tmp_path, tag="py3-none-manylinux_2_28_x86_64"), HERE)


def test_a_wheel_without_the_packages_compiled_module_is_refused(tmp_path: Path, library: bytes) -> None:
    for more in ({}, {"vllm_cpu_ref/other.so": library}, {str(CPU_REF.extension): b"no machine code"}):
        with pytest.raises(Refused, match=rf"lacks {CPU_REF.extension}"):
            check_machine_code(CPU_REF, make_wheel(tmp_path, more=more), HERE)


def _library(folder: Path, source: str, *options: str) -> bytes:
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("no gcc here")
    (folder / "one.c").write_text(source)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", folder / "one.so", folder / "one.c", *options], check=True)
    return (folder / "one.so").read_bytes()


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A shared library that needs nothing but an old libc."""
    return _library(tmp_path_factory.mktemp("library"), "int one(void) { return 1; }\n")


def test_machine_code_is_found_by_content_and_wants_a_manylinux_name(tmp_path: Path, library: bytes) -> None:
    more = {"vllm_cpu_ref/kernels.bin": library}
    pure = make_wheel(tmp_path, more=more)
    assert machine_code(pure) == ["vllm_cpu_ref/kernels.bin"]
    for wheel in (pure, make_wheel(tmp_path, tag="py3-none-linux_x86_64", more=more)):
        with pytest.raises(Refused, match="auditwheel repair"):
            check_machine_code(SPYRE, wheel, HERE)


def test_auditwheel_decides_whether_the_name_is_kept(tmp_path: Path, library: bytes) -> None:
    more = {str(CPU_REF.extension): library}
    wheel = make_wheel(tmp_path, tag="py3-none-manylinux_2_28_x86_64", more=more)
    assert "found by auditwheel: no compiler is needed" in check_machine_code(CPU_REF, wheel, HERE)


def _compiled(folder: Path, content: bytes) -> Path:
    return make_wheel(folder, tag="cp310-abi3-linux_x86_64", more={str(CPU_REF.extension): content})


@needs_x86
def test_a_compiled_wheel_takes_the_manylinux_names_that_it_is_fit_for(tmp_path: Path, library: bytes) -> None:
    made = [as_manylinux(_compiled(tmp_path / name, library), HERE, EPOCH_S) for name in ("one", "two")]
    assert {path.name for path in (tmp_path / "one").iterdir()} == {made[0].name}
    platforms = made[0].stem.removeprefix("vllm_plugin_cpu_ref-0.1.0-cp310-abi3-").split(".")
    assert {"manylinux_2_5_x86_64", "manylinux_2_28_x86_64"} <= set(platforms)
    require_equal("one", made[0], "the other", made[1])
    assert "found by auditwheel" in check_machine_code(CPU_REF, made[0], HERE)


@needs_x86
def test_what_needs_a_newer_linux_than_torch_does_is_refused(tmp_path: Path) -> None:
    """`arc4random` came with glibc 2.36."""
    newer = _library(tmp_path, "unsigned arc4random(void);\nunsigned one(void) { return arc4random(); }\n")
    with pytest.raises(Refused, match=r"not fit for manylinux_2_28_x86_64(?s:.*)link nothing else"):
        as_manylinux(_compiled(tmp_path / "wheel", newer), HERE)
    assert [path.suffix for path in (tmp_path / "wheel").iterdir()] == [".whl"]


@needs_x86
def test_a_library_of_others_is_not_brought_along(tmp_path: Path) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    _library(folder, "int two(void) { return 2; }\n", "-Wl,-soname,one.so")
    content = _library(
        tmp_path, "int two(void);\nint one(void) { return two(); }\n", str(folder / "one.so"), f"-Wl,-rpath,{folder}"
    )
    with pytest.raises(Refused, match=r"it would bring \['vllm_plugin_cpu_ref\.libs/one"):
        as_manylinux(_compiled(tmp_path / "wheel", content), HERE)


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
