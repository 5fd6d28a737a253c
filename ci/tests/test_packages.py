"""What the packages' metadata must agree on, with each other and with CI."""

from __future__ import annotations

import re

import pytest

from ci.environments import CONSTRAINTS
from ci.packages import PACKAGES, PLUGINS, ROOT, Package, package

every_package = pytest.mark.parametrize("entry", PACKAGES, ids=lambda entry: entry.name)


def pyproject(entry: Package) -> str:
    return (entry.path / "pyproject.toml").read_text()


@every_package
def test_names_and_tags_are_the_ones_ci_uses(entry: Package) -> None:
    text = pyproject(entry)
    assert f'\nname = "{entry.distribution}"\n' in text
    assert f"tag_regex = '^{entry.tag_prefix}(?P<version>" in text
    assert f'"--match", "{entry.tag_prefix}*"]' in text
    assert (entry.path / "src" / entry.import_name / "__init__.py").is_file()


@every_package
def test_every_package_carries_the_repositorys_licence(entry: Package) -> None:
    assert (entry.path / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


@every_package
def test_every_package_has_a_changelog_and_fragments_for_it(entry: Package) -> None:
    assert "<!-- towncrier release notes start -->" in (entry.path / "CHANGELOG.md").read_text()
    assert (entry.path / "changelog.d").is_dir()


@every_package
def test_a_package_within_anothers_folder_is_no_part_of_the_others_sdist(entry: Package) -> None:
    inner = [other.path.relative_to(entry.path) for other in PACKAGES if entry.path in other.path.parents]
    manifest = entry.path / "MANIFEST.in"
    lines = manifest.read_text().splitlines() if manifest.is_file() else []
    assert lines == [f"prune {folder}" for folder in inner]


def test_all_plugins_of_the_tree_fit_the_core_of_the_tree() -> None:
    ranges = {re.search(r'"vllm-core(>=[^"]+)"', pyproject(entry))[1] for entry in PLUGINS}  # type: ignore[index]
    assert ranges == {">=0.1.dev0,<0.2.dev0"}


def test_constraints_pin_every_name_and_leave_torchs_local_version_open() -> None:
    lines = [line for line in CONSTRAINTS.read_text().splitlines() if line and not line.startswith("#")]
    pinned = re.compile(r'[\w.-]+==[\w.!]+(; python_version [<>=]+ "3\.\d+")?')
    assert [line for line in lines if not pinned.fullmatch(line)] == []
    assert [line for line in lines if line.startswith("torch==")] == ["torch==2.13.0"]


def test_an_unknown_package_is_answered_with_the_known_ones() -> None:
    with pytest.raises(KeyError, match="known: core, cpu_ref, ascend, spyre, cann_sim"):
        package("cpuref")
