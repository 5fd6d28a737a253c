"""The compiled module of cpu_ref: which builds have it, that it is the same bytes each time, and that an old one is noticed.

Built by the package's own setup.py from one small source, so that it takes a second.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from ci.environments import clean_environ
from ci.extensions import BUILT, LEFT_OUT, is_current
from ci.packages import PACKAGES, Package, package
from ci.release.archives import require_equal
from ci.tests import scratch

CPU_REF = package("cpu_ref")
assert CPU_REF.extension is not None
MODULE = CPU_REF.extension
KERNELS = f"src/{Path(MODULE).parent}/kernels"
NO_COMPILER = {"CC": "/no/compiler/here", "CXX": "/no/compiler/here"}
SOURCE = """
#include <Python.h>
#include "answer.h"
static PyObject* answer(PyObject*, PyObject*) { return PyLong_FromLong(ANSWER); }
static PyMethodDef methods[] = {{"answer", answer, METH_NOARGS, nullptr}, {nullptr, nullptr, 0, nullptr}};
static PyModuleDef module = {PyModuleDef_HEAD_INIT, "_kernels", nullptr, -1, methods};
PyMODINIT_FUNC PyInit__kernels() { return PyModule_Create(&module); }
"""
pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ here")


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """The folder of cpu_ref in a scratch repository, with one kernel."""
    folder = scratch.make_repository(tmp_path / "tree", [CPU_REF]) / CPU_REF.folder
    shutil.rmtree(folder / KERNELS, ignore_errors=True)
    (folder / KERNELS).mkdir(parents=True)
    (folder / KERNELS / "module.cpp").write_text(SOURCE)
    (folder / KERNELS / "answer.h").write_text("#define ANSWER 42\n")
    scratch.commit(tmp_path / "tree", "small kernels")
    return folder


def members(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as content:
        return content.namelist()


def test_one_wheel_for_every_python_holds_the_module_and_not_its_sources(small: Path, tmp_path: Path) -> None:
    wheel = scratch.wheel(small, tmp_path / "out", BUILT)
    assert "-cp310-abi3-linux_" in wheel.name
    assert MODULE in members(wheel)
    assert not [name for name in members(wheel) if name.endswith((".cpp", ".h"))]


def test_the_wheel_from_the_sdist_is_the_wheel_of_the_tree_in_the_same_bytes(small: Path, tmp_path: Path) -> None:
    dated = {**BUILT, "SOURCE_DATE_EPOCH": "1600000000"}
    unpacked = scratch.sdist(small.parents[1], CPU_REF, tmp_path / "sdist")
    assert (unpacked / KERNELS / "answer.h").is_file()
    one, two = (scratch.wheel(folder, tmp_path / str(n), dated) for n, folder in enumerate((small, unpacked)))
    require_equal("the wheel built from the sdist", two, "the wheel built from the tree", one)


def test_it_can_be_left_out_and_then_one_that_lies_in_the_tree_is_left_out_too(small: Path, tmp_path: Path) -> None:
    (small / "src" / MODULE).write_bytes(b"of an editable installation")
    wheel = scratch.wheel(small, tmp_path / "out", LEFT_OUT)
    assert wheel.name.endswith("-py3-none-any.whl")
    assert MODULE not in members(wheel)


def test_without_a_compiler_the_package_can_be_built_unless_the_module_is_demanded(small: Path, tmp_path: Path) -> None:
    assert MODULE not in members(scratch.wheel(small, tmp_path / "out", NO_COMPILER))
    with pytest.raises(subprocess.CalledProcessError) as failed:
        scratch.wheel(small, tmp_path / "demanded", NO_COMPILER | BUILT)
    assert "/no/compiler/here" in failed.value.stderr


def test_another_word_for_the_switch_is_refused(small: Path, tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as failed:
        scratch.wheel(small, tmp_path / "out", dict.fromkeys(BUILT, "yes"))
    assert "is 'yes': say 0 (leave the kernels out), 1 (they must be built) or nothing" in failed.value.stderr


def build_in_place(folder: Path) -> None:
    command = [sys.executable, "setup.py", "build_ext", "--inplace"]
    subprocess.run(command, cwd=folder, env=clean_environ() | dict(BUILT), capture_output=True, check=True)


def test_a_module_in_the_tree_is_current_until_anything_that_it_is_built_from_changes(small: Path) -> None:
    entry = replace(CPU_REF, folder=str(small))
    assert not is_current(entry)
    build_in_place(small)
    assert is_current(entry)
    (small / KERNELS / "answer.h").write_text("#define ANSWER 43\n")
    assert not is_current(entry)
    build_in_place(small)
    assert is_current(entry)
    with (small / "setup.py").open("a") as file:
        file.write("# another option, perhaps\n")
    assert not is_current(entry)


@pytest.mark.parametrize("entry", [each for each in PACKAGES if each.extension is None], ids=lambda each: each.name)
def test_a_package_of_pure_python_is_always_current(entry: Package) -> None:
    assert is_current(entry)
