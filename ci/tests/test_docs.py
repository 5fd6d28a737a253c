"""What the documentation says is so: error texts exist in the sources, names exist in the interface, words for both agree."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ci.packages import CORE, ROOT
from ci.plugin_api.items import Item, Kind, parse
from ci.plugin_api.page import page
from ci.plugin_api.usage import Interface

DOCS = ROOT / "docs"
HAND_WRITTEN = sorted(path.name for path in DOCS.glob("*.md") if path.name != "plugin-api.md")
GAP = "…"


def templates(source: str) -> Iterator[str]:
    """Every text of a module, with a gap for each value that is put in."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield re.sub(r"%[rsdg]", GAP, node.value)
        elif isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else GAP for part in node.values)  # type: ignore[misc]


@pytest.fixture(scope="module")
def texts() -> list[str]:
    files = (CORE.path / "src").rglob("*.py")
    return [text for file in files for text in templates(file.read_text(encoding="utf-8"))]


@pytest.fixture(scope="module")
def lock() -> list[Item]:
    return parse((CORE.path / "plugin_api.lock").read_text(encoding="utf-8"))


def says(template: str, shown: str) -> bool:
    """Whether the parts of `shown` between its gaps stand in `template`, in their order."""
    place = 0
    for part in (part.strip() for part in shown.split(GAP)):
        found = template.find(part, place)
        if found < 0:
            return False
        place = found + len(part)
    return True


def _shown() -> list[str]:
    """The error texts of the page: the terms of its definition lists."""
    text = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    return re.findall(r"^`+ ?(.+?) ?`+\n:   ", text, re.MULTILINE)


SHOWN = _shown()


@pytest.mark.parametrize("shown", SHOWN)
def test_every_error_text_of_the_page_is_one_of_the_cores(texts: list[str], shown: str) -> None:
    assert len(shown.replace(GAP, "").strip()) >= 10, "too little to be searched for"
    assert any(says(text, shown) for text in texts), shown


def test_the_search_knows_a_text_that_is_not_there(texts: list[str]) -> None:
    assert len(SHOWN) > 20
    assert not any(says(text, f"Its register() was struck by {GAP} lightning") for text in texts)
    assert not says("one two", f"two {GAP} one")


@pytest.mark.parametrize("name", HAND_WRITTEN)
def test_every_member_of_a_contract_that_a_page_names_exists(lock: list[Item], name: str) -> None:
    interface = Interface(lock)
    paths = {item.path for item in lock}
    classes = {item.name: item.path for item in lock if item.kind is Kind.CLASS}
    words = re.findall(r"`([A-Z]\w+)\.(\w+)", (DOCS / name).read_text(encoding="utf-8"))
    ours = [(owner, member) for owner, member in words if owner in classes and (owner, member) not in UPSTREAMS]
    unknown = [
        f"{owner}.{member}"
        for owner, member in ours
        if not any(f"{base}.{member}" in paths for base in interface.ancestors(classes[owner]))
    ]
    assert unknown == []


UPSTREAMS = {("Platform", "_enum"), ("CustomOp", "register_oot"), ("ModelRegistry", "register_model")}
"""Names of upstream's in the table that leads from them to ours."""


def test_every_mandatory_method_of_the_platform_is_in_the_table_for_movers(lock: list[Item]) -> None:
    text = (DOCS / "moving-from-upstream.md").read_text(encoding="utf-8")
    mandatory = [item.name for item in lock if item.owner == "Platform" and item.is_abstract]
    assert len(mandatory) == 5
    assert [name for name in mandatory if f"`Platform.{name}`" not in text] == []


def test_the_generated_page_names_every_class_of_the_lock(lock: list[Item]) -> None:
    text = (DOCS / "plugin-api.md").read_text(encoding="utf-8")
    assert [item.name for item in lock if item.kind is Kind.CLASS and f"\n### {item.name}\n" not in text] == []
    assert page(lock, {item.module: "" for item in lock}).count("\n### ") == text.count("\n### ")


@pytest.mark.parametrize("name", HAND_WRITTEN)
def test_a_page_names_no_flag_or_variable_that_the_core_does_not_know(name: str) -> None:
    known = "".join(path.read_text(encoding="utf-8") for path in (CORE.path / "src").rglob("*.py"))
    text = (DOCS / name).read_text(encoding="utf-8")
    assert [word for word in set(re.findall(r"\bVLLM_[A-Z_]+\b", text)) if word not in known] == []
    flags = set(re.findall(r"`(--[a-z][a-z-]+)", text)) - OTHERS_FLAGS
    unknown = [flag for flag in flags if flag not in known and flag[2:].replace("-", "_") not in known]
    assert unknown == []


OTHERS_FLAGS = {"--force-reinstall", *re.findall(r'"(--[a-z-]+)"', (ROOT / "ci/release/__main__.py").read_text())}
"""Of pip, and of the release."""


def test_the_pages_of_the_navigation_are_those_of_the_folder() -> None:
    named = set(re.findall(r": ([\w-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE))
    assert named == {path.name for path in Path(DOCS).glob("*.md")}
