"""The ledger of releases and the table that is made of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ci.packages import PACKAGES, ROOT
from ci.release.compatibility import PAGE, main, render_page
from ci.release.ledger import LEDGER, Release, read_ledger, write_ledger

CORE_1 = Release(
    package="core",
    version="0.1.0",
    date="2030-01-02",
    python="3.11",
    torch="2.13.0",
    transformers="5.23.0",
    wants="",
    tested_with=("cpu_ref 0.1.0.dev0",),
)
CPU_REF_1 = replace(CORE_1, package="cpu_ref", wants="<0.2.dev0,>=0.1.dev0", tested_with=("core 0.1.0",))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The packages' metadata, and folders for the ledger and the page."""
    for entry in PACKAGES:
        (tmp_path / entry.folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / entry.folder / "pyproject.toml").write_text((entry.path / "pyproject.toml").read_text())
    for file in (LEDGER, PAGE):
        (tmp_path / file).parent.mkdir()
    return tmp_path


def set_core_next(tree: Path, version: str) -> None:
    file = tree / "core" / "pyproject.toml"
    lines = [
        f'fallback_version = "{version}"' if line.startswith("fallback_version") else line
        for line in file.read_text().splitlines()
    ]
    file.write_text("\n".join(lines))


def test_the_page_of_this_tree_is_what_the_ledger_and_the_packages_say() -> None:
    assert (ROOT / PAGE).read_text(encoding="utf-8") == render_page(ROOT)


def test_the_ledger_comes_back_as_it_was_written(tree: Path) -> None:
    assert read_ledger(tree) == []
    write_ledger(tree, [CORE_1, CPU_REF_1])
    assert read_ledger(tree) == [CORE_1, CPU_REF_1]


def test_a_release_of_an_unknown_package_is_no_entry() -> None:
    with pytest.raises(KeyError, match="no package 'gpu_ref'"):
        replace(CORE_1, package="gpu_ref")


def rows(page: str, heading: str) -> list[str]:
    section = page.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return [line for line in section.splitlines() if line.startswith("|") and not line.startswith("|---")]


def test_the_table_says_tested_claimed_and_refused(tree: Path) -> None:
    set_core_next(tree, "0.2.1.dev0")
    newer = replace(CORE_1, version="0.2.0", tested_with=("cpu_ref 0.2.0",))
    bridge = replace(CPU_REF_1, version="0.2.0", wants="<0.3.dev0,>=0.1.dev0", tested_with=("core 0.1.0",))
    write_ledger(tree, [CORE_1, CPU_REF_1, replace(CORE_1, version="0.1.1", tested_with=()), bridge, newer])
    assert rows(render_page(tree), "vllm-plugin-cpu-ref") == [
        "| cpu_ref | core 0.1.0 | core 0.1.1 | core 0.2.0 | core of the tree |",
        "| 0.1.0, wants `>=0.1.dev0,<0.2.dev0` | **tested** | claimed | refused | refused |",
        "| 0.2.0, wants `>=0.1.dev0,<0.3.dev0` | **tested** | claimed | **tested** | claimed |",
        "| the tree, wants `>=0.1.dev0,<0.2.dev0` | claimed | claimed | refused | refused |",
    ]
    assert "| vllm-core 0.2.0 | 2030-01-02 | 3.11 | 2.13.0 | 5.23.0 |" in render_page(tree)


def test_before_the_first_release_the_page_says_so(tree: Path) -> None:
    page = render_page(tree)
    assert "No release has been made yet." in page
    assert rows(page, "vllm-plugin-spyre")[-1] == "| the tree, wants `>=0.1.dev0,<0.2.dev0` | in CI |"


def test_a_hand_edit_is_noticed_and_written_over(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--write"], tree)
    assert main([], tree) == 0
    (tree / PAGE).write_text((tree / PAGE).read_text().replace("in CI |", "**tested** |"))
    assert main([], tree) == 1
    assert "run `python -m ci.release.compatibility --write`" in capsys.readouterr().out
    assert main(["--write"], tree) == 0
    assert (tree / PAGE).read_text() == render_page(tree)
