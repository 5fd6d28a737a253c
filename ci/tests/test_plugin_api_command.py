"""`nox -s api` in scratch repositories: a signature of the Platform contract changes under the plugins that use it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ci.plugin_api.__main__ import main
from ci.tests import scratch
from ci.versions import git

PLATFORM = "core/src/vllm/platforms/interface.py"
OLD = "def get_device_name(self, device_id: int = 0) -> str:"
NEW = "def get_device_name(self, device_id: int) -> str:"
LOCK = "core/plugin_api.lock"


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of this tree's packages whose lock says what its sources say."""
    path = scratch.make_repository(tmp_path_factory.mktemp("api") / "origin")
    assert main(["--tree", str(path), "--write"]) == 0
    scratch.commit(path, "lock")
    return path


@pytest.fixture
def tree(origin: Path, tmp_path: Path) -> Path:
    """A clone of its own for each test, which changes it."""
    return scratch.clone(origin, tmp_path / "tree")


def edit(tree: Path, file: str, old: str, new: str) -> None:
    text = (tree / file).read_text()
    assert old in text
    (tree / file).write_text(text.replace(old, new))


def check(tree: Path, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, str]:
    """Exit status and output."""
    capsys.readouterr()
    code = main(["--tree", str(tree), *options])
    return code, capsys.readouterr().out


def test_a_changed_signature_is_breaking_and_the_plugin_that_overrides_it_is_named(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(tree, capsys)[0] == 0
    edit(tree, PLATFORM, OLD, NEW)
    code, text = check(tree, capsys)
    assert code == 1
    assert (
        "BREAKING  vllm.platforms.interface.Platform.get_device_name: "
        "its parameter `device_id: int = 0` became `device_id: int`" in text
    )
    place = "plugins/cpu_ref/src/vllm_cpu_ref/platform.py"
    lines = (tree / place).read_text().splitlines()
    number = 1 + next(place for place, line in enumerate(lines) if "def get_device_name" in line)
    assert f"    affects cpu_ref: {place}:{number} CpuRefPlatform overrides get_device_name" in text
    assert f"TO DO: {LOCK} is not what the sources say: run `nox -s api -- --write` and commit it" in text
    assert "no release of core is tagged here" in text


def test_after_a_release_a_breaking_change_owes_a_version_and_a_fragment(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    git(tree, "tag", "core-v0.1.0")
    edit(tree, PLATFORM, OLD, NEW)
    code, text = check(tree, capsys, "--write")
    assert code == 1
    assert "TO DO: raise core's next version from 0.1.0.dev0 to 0.2.0.dev0" in text
    assert "core/changelog.d/<issue>.breaking.md" in text
    assert OLD.removeprefix("def get_device_name(self, ").partition(")")[0] in (tree / LOCK).read_text()

    edit(tree, "core/pyproject.toml", 'fallback_version = "0.1.0.dev0"', 'fallback_version = "0.2.0.dev0"')
    (tree / "core/changelog.d/3.breaking.md").write_text("`Platform.get_device_name` needs its argument.\n")
    assert check(tree, capsys, "--write")[0] == 0
    assert "get_device_name(device_id: int) -> str" in (tree / LOCK).read_text()
    assert check(tree, capsys)[0] == 0


def test_a_renewed_lock_does_not_hide_what_is_owed_since_the_release(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(tree, PLATFORM, OLD, NEW)
    assert check(tree, capsys, "--write")[0] == 0
    git(tree, "tag", "core-v0.1.0", "HEAD")  # whose lock is the old one
    code, text = check(tree, capsys)
    assert code == 1
    assert "0 breaking, 0 additive" in text
    assert "to 0.2.0.dev0" in text
    assert check(tree, capsys, "--against", "core-v0.1.0")[1].count("BREAKING") == 1


def test_an_additive_change_owes_a_patch_version_and_a_sentence(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    git(tree, "tag", "core-v0.1.0")
    addition = "    def fan_speed(self) -> float:\n        return 0.0\n\n    def usage_label"
    edit(tree, PLATFORM, "    def usage_label", addition)
    code, text = check(tree, capsys)
    assert code == 1
    assert "0 breaking, 1 additive" in text
    assert "additive  vllm.platforms.interface.Platform.fan_speed: is new" in text
    assert "from 0.1.0.dev0 to 0.1.1.dev0" in text


def test_a_shim_that_is_due_is_named(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shim = '@deprecated(instead="load_platform()", goes_in="{version}")\ndef old() -> None: ...\n'
    file = tree / "core/src/vllm/platforms/old.py"
    file.write_text(f"from vllm.deprecation import deprecated\n{shim.format(version='0.2')}")
    assert check(tree, capsys)[0] == 0
    file.write_text(f"from vllm.deprecation import deprecated\n{shim.format(version='0.1')}")
    code, text = check(tree, capsys)
    assert code == 1
    assert "platforms/old.py:2: this shim goes in core 0.1: remove it" in text


def test_a_commit_without_a_lock_is_refused(tree: Path) -> None:
    with pytest.raises(SystemExit, match=r"HEAD~2 has no core/plugin_api\.lock"):
        main(["--tree", str(tree), "--against", "HEAD~2"])


def test_this_trees_lock_and_page_are_what_its_sources_say() -> None:
    assert main([]) == 0
