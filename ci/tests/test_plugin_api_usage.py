"""Which plugins a change concerns: a scratch plugin that uses the interface in every way that is looked for."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from ci.plugin_api.compare import Change
from ci.plugin_api.items import parse
from ci.plugin_api.usage import Interface, Source, read_plugins, uses

LOCK = """
module vllm.platforms
export Platform = vllm.platforms.interface.Platform
module vllm.platforms.interface
class Platform(abc.ABC)
    field name: ClassVar[str]
    abstract def memory_info(device_id: int = 0) -> int
    def device_count() -> int
module vllm.worker
class Worker(abc.ABC)
    abstract def _execute(plan: Plan) -> None
    abstract def sample() -> None
    def __init__(rank: int) -> None
class TorchWorker(Worker)
    def name() -> str
module vllm.messages
class Plan @dataclass
    field rows: int
    field total: int
class Batch @dataclass
    field rows: int
def helper() -> int
"""

PLATFORM = """
from vllm.platforms import Platform
from vllm import messages

class Base(Platform):
    name = "chip"
    def memory_info(self, device_id: int = 0) -> int:
        return self.device_count() + messages.helper()

class Chip(Base):
    pass
"""

WORKER = """
from __future__ import annotations
from typing import TYPE_CHECKING
import vllm.worker as w
from chip.platform import Chip
if TYPE_CHECKING:
    from vllm.messages import Batch, Plan

class ChipWorker(w.TorchWorker):
    def _execute(self, plan: Plan) -> None:
        print(plan.rows, plan.total)
    def other(self, batch: "Batch", anything) -> None:
        from vllm.messages import Batch
        print(batch.rows, anything.rows, anything.total)
        Batch(rows=2)
    def third(self) -> str:
        return Chip().memory_info() or self.name()
"""


@pytest.fixture
def sources(tmp_path: Path) -> list[Source]:
    for name, text in {"platform": PLATFORM, "worker": WORKER}.items():
        file = tmp_path / f"plugins/chip/src/chip/{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text))
    return read_plugins(tmp_path)


def found(sources: list[Source], path: str, *, is_new_duty: bool = False) -> list[str]:
    """The uses of `path` as "file:line how", when it breaks."""
    items = parse(LOCK)
    item = next(each for each in items if each.path == path)
    change = Change(item=item, what="changed", is_breaking=True, is_new_duty=is_new_duty)
    return [f"{use.file.name}:{use.line} {use.how}" for use in uses(change, sources, Interface(items))]


def test_an_override_is_found_and_calls_of_it_on_the_plugins_own_class(sources: list[Source]) -> None:
    assert found(sources, "vllm.platforms.interface.Platform.memory_info") == [
        "platform.py:7 Base overrides memory_info",
        "worker.py:17 uses memory_info",
    ]


def test_a_new_duty_concerns_every_subclass_without_it(sources: list[Source]) -> None:
    """`Chip` has it from `Base`; of `sample` nobody has anything."""
    assert found(sources, "vllm.worker.Worker.sample", is_new_duty=True) == [
        "worker.py:9 ChipWorker must define sample"
    ]
    assert found(sources, "vllm.platforms.interface.Platform.memory_info", is_new_duty=True) == [
        "platform.py:7 Base overrides memory_info",
    ]


def test_a_class_attribute_and_a_method_on_self_are_found(sources: list[Source]) -> None:
    assert found(sources, "vllm.platforms.interface.Platform.name") == ["platform.py:6 Base overrides name"]
    assert found(sources, "vllm.platforms.interface.Platform.device_count") == ["platform.py:8 uses device_count"]
    assert found(sources, "vllm.worker.TorchWorker.name") == ["worker.py:17 uses name"]


def test_the_class_of_an_argument_tells_fields_of_one_name_apart(sources: list[Source]) -> None:
    assert found(sources, "vllm.messages.Plan.rows") == ["worker.py:11 uses rows"]
    assert found(sources, "vllm.messages.Batch.rows") == ["worker.py:14 uses rows", "worker.py:15 gives rows="]


def test_a_name_that_only_one_class_has_is_found_on_anything(sources: list[Source]) -> None:
    assert found(sources, "vllm.messages.Plan.total") == ["worker.py:11 uses total", "worker.py:14 uses total"]


def test_imports_are_found_by_either_path(sources: list[Source]) -> None:
    assert found(sources, "vllm.platforms.interface.Platform") == ["platform.py:2 imports Platform"]
    assert found(sources, "vllm.platforms.Platform") == ["platform.py:2 imports Platform"]
    assert found(sources, "vllm.messages.helper") == ["platform.py:8 uses helper"]
    assert found(sources, "vllm.messages.Batch") == ["worker.py:7 imports Batch", "worker.py:13 imports Batch"]
    assert found(sources, "vllm.worker.TorchWorker") == ["worker.py:9 uses TorchWorker"]


def test_a_constructor_concerns_those_who_inherit_it(sources: list[Source]) -> None:
    assert found(sources, "vllm.worker.Worker.__init__") == ["worker.py:9 ChipWorker inherits __init__"]
