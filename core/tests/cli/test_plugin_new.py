"""`vllm plugin new`: the package is whole, its wheel installs, it runs as generated, and nothing of anybody's is overwritten."""

from __future__ import annotations

import ast
import io
import os
import subprocess
import sys
import tokenize
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.tests.plugin_site import PluginSite
from vllm.entrypoints.cli.main import main
from vllm.entrypoints.cli.plugin_new import check_name, write_plugin
from vllm.errors import VllmError

FILES = {
    "pyproject.toml",
    "setup.py",
    "README.md",
    "CHANGELOG.md",
    "LICENSE",
    ".gitignore",
    "src/vllm_my_chip/__init__.py",
    "src/vllm_my_chip/py.typed",
    "src/vllm_my_chip/platform.py",
    "src/vllm_my_chip/attention.py",
    "src/vllm_my_chip/worker.py",
    "src/vllm_my_chip/communicator.py",
    "tests/test_conformance.py",
    "tests/test_platform.py",
}
MOST_CODE_LINES = 199


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("new") / "chip"
    write_plugin("my_chip", folder)
    return folder


@pytest.fixture(scope="module")
def installed(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package built by pip and installed into a folder, as a user's `pip install` would."""
    site = tmp_path_factory.mktemp("site")
    offline = ("--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--disable-pip-version-check")
    subprocess.run([sys.executable, "-m", "pip", "install", *offline, "--target", site, package], check=True)
    return site


def generated_files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


# ---- what is written


def test_every_file_is_there_and_no_placeholder_is_left(tmp_path: Path) -> None:
    written = write_plugin("my_chip", tmp_path / "chip")
    assert generated_files(tmp_path / "chip") == {str(path) for path in written} == FILES
    assert [path.name for path in tmp_path.iterdir()] == ["chip"], "no draft stays beside it"
    for path in written:
        text = (tmp_path / "chip" / path).read_text()
        assert "$" not in text.replace("[^+]*)$'", ""), path


def test_it_is_less_than_200_lines_of_code(package: Path) -> None:
    sources = [*package.rglob("src/*/*.py"), *package.rglob("tests/*.py")]
    assert len(sources) == 7, "and a setup.py that is no code of the plugin's"
    assert sum(len(code_lines(path.read_text())) for path in sources) <= MOST_CODE_LINES


def test_what_counts_as_a_line_of_code() -> None:
    text = '"""Doc."""\n\n# why\ndef f():\n    """Doc\n    on."""\n    return (\n        1  # one\n    )\n'
    assert code_lines(text) == {4, 7, 8, 9}


def code_lines(source: str) -> set[int]:
    """Lines that hold code: neither blank, nor comment, nor docstring."""
    dull = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    lines = {line for token in tokens if token.type not in dull for line in range(token.start[0], token.end[0] + 1)}
    return lines - set(docstring_lines(ast.parse(source)))


def docstring_lines(tree: ast.Module) -> Iterator[int]:
    """Strings that stand alone as a statement; those below an attribute describe it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield from range(node.lineno, (node.end_lineno or node.lineno) + 1)


# ---- it works as generated


def test_its_metadata_is_what_discovery_wants(installed: Path) -> None:
    (info,) = installed.glob("vllm_plugin_my_chip-*.dist-info")
    assert (info / "entry_points.txt").read_text() == "[vllm.platform_plugins]\nmy_chip = vllm_my_chip:register\n"
    metadata = (info / "METADATA").read_text()
    assert "\nVersion: 0.1.0.dev0\n" in metadata
    assert "\nRequires-Dist: vllm-core<0.2.dev0,>=0.1.dev0\n" in metadata


def test_a_deleted_module_is_not_in_the_next_wheel(tmp_path: Path) -> None:
    write_plugin("my_chip", tmp_path / "chip")
    module = tmp_path / "chip" / "src" / "vllm_my_chip" / "soon_deleted.py"
    module.write_text('"""Soon deleted."""\n')
    assert "vllm_my_chip/soon_deleted.py" in wheel_files(tmp_path / "chip", tmp_path / "first")
    module.unlink()
    assert "vllm_my_chip/soon_deleted.py" not in wheel_files(tmp_path / "chip", tmp_path / "second")
    assert not (tmp_path / "chip" / "build").exists()


def wheel_files(package: Path, out: Path) -> list[str]:
    """What pip puts into the package's wheel."""
    offline = ("--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--disable-pip-version-check")
    subprocess.run([sys.executable, "-m", "pip", "wheel", *offline, "--wheel-dir", out, package], check=True)
    (wheel,) = out.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def test_it_generates_what_cpu_ref_generates(installed: Path) -> None:
    """In 16 bits where the model is sure of itself; in 32 wherever it goes on."""
    for words in (["Count: 17 18 19"], ["Count: 17 18 19", "The", "A b", "--dtype", "float32", "--max-tokens", "32"]):
        text = generate(installed, "my_chip", *words)
        assert "Count: 17 18 19 20 21 22" in text
        assert text == generate(installed, "cpu_ref", *words)


def test_two_ranks_meet_through_its_communicator(installed: Path) -> None:
    assert "19 20 21 22" in generate(installed, "my_chip", "Count: 17 18 19", "-tp", "2")


def test_its_own_tests_pass(package: Path, installed: Path) -> None:
    """Those of discovery. The conformance kit has its own session: it takes minutes."""
    tests = package / "tests" / "test_platform.py"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(package), str(tests)]
    result = subprocess.run(command, env=environ(installed), capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def generate(installed: Path, platform: str, *words: str) -> str:
    """Standard output of `vllm generate`."""
    command = [sys.executable, "-m", "vllm.entrypoints.cli.main", "generate", *words]
    env = {**environ(installed), "VLLM_PLATFORM": platform}
    result = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def environ(installed: Path) -> dict[str, str]:
    paths = [str(installed), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}


# ---- what is refused


@pytest.mark.parametrize(
    "name, said",
    [
        ("my-chip", "cannot be called 'my-chip'.*small letters.*Did you mean: my_chip"),
        ("MyChip", "cannot be called 'MyChip'.*Did you mean: mychip"),
        ("2chips", "cannot be called '2chips'"),
        ("_chip", "cannot be called '_chip'"),
        ("čip", "cannot be called 'čip'"),
        ("", "cannot be called ''"),
        ("chip_", "cannot be called 'chip_'.*Did you mean: chip"),
        ("my__chip", "cannot be called 'my__chip'.*Did you mean: my_chip"),
        ("../chip", r"cannot be called '\.\./chip'"),
        ("class", "'class' is reserved"),
        ("vllm", "'vllm' is reserved"),
        ("cpu_ref", "'cpu_ref' is reserved"),
    ],
)
def test_names_that_cannot_be(name: str, said: str) -> None:
    with pytest.raises(VllmError, match=f"(?s){said}"):
        check_name(name)


def test_a_name_that_an_installed_plugin_has(tmp_path: Path) -> None:
    site = PluginSite(tmp_path / "site")
    site.add_plugin("chip", "raise RuntimeError('imported')")
    site.add_plugin("fork", "", distribution="vllm-plugin-other-chip")
    site.add_module("vllm_third", "raise RuntimeError('imported')")
    for name, said in {
        "chip": "taken by an installed plugin: chip (vllm-plugin-chip 1.0)",
        "other_chip": "taken by an installed plugin: fork (vllm-plugin-other-chip 1.0)",
        "third": "a Python package vllm_third is installed already",
    }.items():
        result = command(site, name)
        assert result.returncode == 2
        assert said in result.stderr
    assert sorted(path.name for path in site.folder.glob("vllm-plugin-*")) == []


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "work.py").write_text("precious")
    assert main(["plugin", "new", "chip", "--dest", str(folder)]) == 2
    assert "exists already and is not an empty folder; nothing was written" in capsys.readouterr().err
    assert generated_files(folder) == {"work.py"}


def test_an_empty_folder_may_be_filled(tmp_path: Path) -> None:
    (tmp_path / "chip").mkdir()
    write_plugin("my_chip", tmp_path / "chip")
    assert generated_files(tmp_path / "chip") == FILES


def test_the_folder_that_the_shell_stands_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["plugin", "new", "my_chip", "--dest", "."]) == 0
    assert generated_files(Path()) == FILES


def test_the_next_steps_can_be_pasted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "my chips"
    assert main(["plugin", "new", "my_chip", "--dest", str(folder)]) == 0
    assert f"pip install -e '{folder}'\n" in capsys.readouterr().out


def test_a_folder_that_cannot_be_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert main(["plugin", "new", "my_chip", "--dest", str(tmp_path / "file" / "chip")]) == 2
    assert "File exists" in capsys.readouterr().err


def test_what_cannot_be_finished_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, text: str, encoding: str | None = None) -> int:
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        write_plugin("my_chip", tmp_path / "chip")
    assert list(tmp_path.iterdir()) == []


def test_the_default_folder_and_what_to_do_next_without_any_heavy_import(tmp_path: Path) -> None:
    site = PluginSite(tmp_path / "site")
    result = command(site, "chip")
    assert result.returncode == 0, result.stderr
    assert (site.folder / "vllm-plugin-chip" / "pyproject.toml").is_file()
    assert 'VLLM_PLATFORM=chip vllm generate "Count: 17 18 19"' in result.stdout


def command(site: PluginSite, name: str) -> subprocess.CompletedProcess[str]:
    code = f"""
    import sys
    from vllm.entrypoints.cli.main import main
    status = main(["plugin", "new", {name!r}])
    assert not {{"torch", "numpy", "transformers"}} & set(sys.modules)
    sys.exit(status)
    """
    return site.run(code, check=False)
