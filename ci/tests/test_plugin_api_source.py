"""Sources in, lock and page out: a scratch module that has one of everything, and this tree's own interface."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from ci.packages import CORE
from ci.plugin_api.items import HEADER, Item, parse, render
from ci.plugin_api.page import page
from ci.plugin_api.source import read_sources
from ci.plugin_api.surface import SURFACE

SOURCE = '''
"""What it owns."""
import abc
from dataclasses import dataclass
from typing import ClassVar, final
from scratch.other import Elsewhere, Locked

__all__ = ["LIMIT", "Contract", "Elsewhere", "Locked", "Message", "made_on_demand"]
LIMIT = 3
hidden = 4

class Contract(abc.ABC):
    """A contract with `code` and <angles>."""
    name: ClassVar[str]
    size: ClassVar[int] = 1
    def __init__(self, config: dict[str, int], *, rank: int) -> None:
        self.config = config
        self.rank = rank
        self.seconds_of: dict[str, float] = {}
        self._private = 1
    @final
    def run(self, rows: int = 0) -> str: ...
    @abc.abstractmethod
    def _run(self, rows: int) -> str:
        """Do it.

        Args:
            rows: how many,
                at least one.

        Returns:
            what came of it.
        """
    def _helper(self) -> None: ...
    @property
    def is_done(self) -> bool:
        """Whether."""
    @property
    @abc.abstractmethod
    def depth(self) -> int: ...
    @classmethod
    def make(cls) -> "Contract": ...
    def __str__(self) -> str: ...

@dataclass(frozen=True, kw_only=True)
class Message:
    rows: int
    """How many."""
    tags: tuple[str, ...] = ()
'''

OTHER = '''
"""Two classes."""
class Elsewhere: ...
class Locked: ...
'''

LOCK = f"""{HEADER}

module scratch
field LIMIT = 3
class Contract(abc.ABC)
    field name: ClassVar[str]
    field size: ClassVar[int] = 1
    def __init__(config: dict[str, int], *, rank: int) -> None
    field config: dict[str, int]
    field rank: int
    field seconds_of: dict[str, float]
    final def run(rows: int = 0) -> str
    abstract def _run(rows: int) -> str
    property is_done -> bool
    abstract property depth -> int
    classmethod def make() -> Contract
export Elsewhere = scratch.other.Elsewhere
export Locked = scratch.other.Locked
class Message @dataclass(frozen=True, kw_only=True)
    field rows: int
    field tags: tuple[str, ...] = ()

module scratch.other
class Elsewhere
class Locked
"""


@pytest.fixture
def src(tmp_path: Path) -> Path:
    (tmp_path / "scratch").mkdir()
    (tmp_path / "scratch/__init__.py").write_text(textwrap.dedent(SOURCE))
    (tmp_path / "scratch/other.py").write_text(textwrap.dedent(OTHER))
    return tmp_path


def test_the_lock_says_what_the_sources_say(src: Path) -> None:
    items = read_sources(src, ("scratch", "scratch.other")).items
    assert render(items) == LOCK
    assert parse(LOCK) == items


def test_what_a_module_exports_from_outside_the_surface_is_locked_with_it(src: Path) -> None:
    text = render(read_sources(src, ("scratch",)).items)
    assert "\nclass Elsewhere\n" in text
    assert "export" not in text


def test_the_page_has_every_docstring_and_marks_what_is_mandatory(src: Path) -> None:
    modules = ("scratch", "scratch.other")
    text = page(read_sources(src, modules).items, read_sources(src, modules).module_docs)
    assert "## `scratch`\n\nWhat it owns.\n" in text
    assert "### Contract\n\n`class Contract(abc.ABC)`\n\nA contract with `code` and \\<angles>.\n" in text
    assert "- `_run(rows: int) -> str` **mandatory**\n\n    Do it.\n" in text
    assert "    **Args**\n\n    - rows: how many,\n      at least one.\n" in text
    assert "    **Returns**\n\n    - what came of it.\n" in text
    assert "- `is_done -> bool` **property**\n\n    Whether.\n" in text
    assert "[`Locked`](#scratchother)" in text


def test_a_module_that_is_not_there_is_named(src: Path) -> None:
    with pytest.raises(ValueError, match=r"surface\.py lists scratch\.gone, which is not among"):
        read_sources(src, ("scratch", "scratch.gone"))


@pytest.fixture(scope="module")
def items() -> list[Item]:
    return read_sources(CORE.path / "src").items


def test_every_module_of_the_surface_declares_something(items: list[Item]) -> None:
    assert {item.module for item in items} == set(SURFACE)


@pytest.mark.parametrize(
    "line",
    [
        "abstract def get_device_name(device_id: int = 0) -> str",
        "abstract def _execute(plan: StepPlan) -> None",
        "final def all_reduce(tensor: torch.Tensor) -> torch.Tensor",
        "class RMSNorm(CustomOp) @native_op('rms_norm')",
        "field mixes_prefill_and_decode: bool = True",
        "field total_tokens: int",
        "field dtype: str = 'bfloat16'",
        "class Unavailable(VllmError)",
        "export Platform = vllm.platforms.interface.Platform",
    ],
)
def test_the_tree_has_what_a_plugin_author_would_look_for(items: list[Item], line: str) -> None:
    assert line in {item.line for item in items}


def test_the_promised_import_paths_are_in_the_surface(items: list[Item]) -> None:
    paths = {item.path for item in items}
    assert {
        "vllm.platforms.Platform",
        "vllm.worker.worker_base.WorkerBase",
        "vllm.worker.model_runner_base.ModelRunnerBase",
        "vllm.attention.backends.abstract.AttentionBackend",
        "vllm.distributed.device_communicators.base_communicator.CommunicatorBase",
        "vllm.plugins.Unavailable",
    } <= paths
