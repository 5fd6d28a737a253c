"""Interpreters are found honestly, and shared environments are remade only when their recipe changes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ci import interpreters
from ci.environments import InterpreterMissing, Recipe, clean_environ, create, ensure
from ci.packages import CORE

HERE = "{}.{}".format(*sys.version_info[:2])


def test_the_running_python_is_found() -> None:
    python = interpreters.find_interpreter(HERE)
    assert python is not None
    done = subprocess.run(
        [python, "-c", "import sys; print(sys.version_info[:2])"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(tuple(sys.version_info[:2]))


def test_a_shim_that_does_not_start_is_not_an_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shim = tmp_path / "python3.99"
    shim.write_text("#!/bin/sh\necho not installed >&2\nexit 127\n")
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert interpreters.find_interpreter("3.99") is None


def test_a_missing_python_is_said(tmp_path: Path) -> None:
    with pytest.raises(InterpreterMissing, match=r"no Python 3\.99 here"):
        create(tmp_path / "env", "3.99")


def test_an_environment_is_made_once_and_again_for_another_recipe(tmp_path: Path) -> None:
    path = tmp_path / "env"
    made = ensure(path, Recipe(python=HERE, requirements=("iniconfig",)))
    subprocess.run([made.python, "-c", "import iniconfig"], check=True)
    (path / "witness").touch()
    ensure(path, Recipe(python=HERE, requirements=("iniconfig",)))
    assert (path / "witness").exists()
    ensure(path, Recipe(python=HERE, requirements=("pluggy",)))
    assert not (path / "witness").exists()


def test_everything_that_decides_the_content_is_in_the_digest() -> None:
    plain = Recipe(python="3.11", requirements=("numpy",))
    others = [
        Recipe(python="3.12", requirements=("numpy",)),
        Recipe(python="3.11", requirements=("numpy", "torch")),
        Recipe(python="3.11", requirements=("numpy",), packages=(CORE,)),
        Recipe(python="3.11", requirements=("numpy",), bare=True),
    ]
    assert len({recipe.digest() for recipe in (plain, *others)}) == 5
    assert plain.digest() == Recipe(python="3.11", requirements=("numpy",)).digest()


def test_the_callers_python_settings_do_not_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    monkeypatch.setenv("VLLM_PLUGINS", "none")
    monkeypatch.setenv("PYTHONOPTIMIZE", "1")
    monkeypatch.setenv("VLLM_CPU_REF_NATIVE", "0")
    monkeypatch.setenv("VLLM_CPU_REF_BUILD_NATIVE", "0")
    monkeypatch.setenv("PYTEST_ADDOPTS", "-k nothing")
    monkeypatch.setenv("KEPT", "yes")
    environ = clean_environ()
    assert environ["KEPT"] == "yes"
    assert not {"PYTHONPATH", "VLLM_PLUGINS", "PYTHONOPTIMIZE", "PYTEST_ADDOPTS"} & environ.keys()
    assert not {"VLLM_CPU_REF_NATIVE", "VLLM_CPU_REF_BUILD_NATIVE"} & environ.keys()


def test_what_one_process_compiled_the_next_need_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path / "elsewhere"))
    (tmp_path / "module.py").touch()
    subprocess.run([sys.executable, "-c", "import module"], cwd=tmp_path, env=clean_environ(), check=True)
    assert list((tmp_path / "__pycache__").iterdir())
