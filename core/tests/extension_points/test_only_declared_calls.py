"""The law "everything the core calls is declared": nothing is asked of a plugin's object that its contract does not have."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

import vllm
from core.tests.extension_points.declared_calls import Ask, asks
from vllm.attention.backends.abstract import AttentionBackend
from vllm.distributed.device_communicators.base_communicator import CommunicatorBase
from vllm.engine.scheduler.interface import SchedulerInterface
from vllm.engine.stat_logger import StatLoggerBase
from vllm.executor.base import ExecutorBase, StepHandle
from vllm.model_executor.layers.quantization import LinearMethod, QuantizationConfig
from vllm.platforms import Platform
from vllm.sampling.logits_processors_interface import LogitsProcessor
from vllm.worker.captured_forward import CapturedForward
from vllm.worker.model_runner_base import ModelRunnerBase
from vllm.worker.worker_base import WorkerBase

CONTRACTS: dict[str, type] = {
    contract.__name__: contract
    for contract in (
        *(AttentionBackend, CapturedForward, CommunicatorBase, ExecutorBase, LinearMethod, LogitsProcessor),
        *(ModelRunnerBase, Platform, QuantizationConfig, SchedulerInterface, StatLoggerBase, StepHandle, WorkerBase),
    )
}
ROOT = Path(vllm.__file__).parent
BY_STRING = {
    "executor/rpc.py": "collective_rpc calls methods of the user's own worker extension, by the name that the user gives"
}
"""File → why it may choose a worker's attribute by a string."""


@pytest.fixture(scope="module")
def core_asks() -> list[Ask]:
    files = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in sorted(ROOT.rglob("*.py"))}
    return asks({name: text for name, text in files.items() if not name.startswith("testing/")}, CONTRACTS)


def declared(contract: type) -> set[str]:
    """What a contract has: methods, class attributes, annotations, and what its `__init__` keeps."""
    annotated = {name for base in contract.__mro__ for name in vars(base).get("__annotations__", {})}
    return {*dir(contract), *annotated, *kept_by_init(contract)}


def is_pythons_own(name: str) -> bool:
    """`__qualname__` and the like, which every class has."""
    return name.startswith("__") and name.endswith("__")


def kept_by_init(contract: type) -> Iterator[str]:
    if "__init__" not in vars(contract):
        return
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(vars(contract)["__init__"])))):
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        yield from (target.attr for target in targets if isinstance(target, ast.Attribute))


def test_nothing_undeclared_is_asked_of_a_plugin(core_asks: list[Ask]) -> None:
    wrong = [
        f"{ask.file}:{ask.line}: {ask.contract} declares no {ask.attribute}"
        for ask in core_asks
        if ask.attribute is not None and ask.attribute not in declared(CONTRACTS[ask.contract])
        if not is_pythons_own(ask.attribute)
    ]
    assert wrong == [], "declare it in the contract (with types and a default), or do not call it"


def test_nothing_is_asked_by_a_string(core_asks: list[Ask]) -> None:
    found = {ask.file: f"{ask.file}:{ask.line} on a {ask.contract}" for ask in core_asks if ask.attribute is None}
    assert set(found) == set(BY_STRING), found


def test_the_walk_sees_what_the_core_is_known_to_ask(core_asks: list[Ask]) -> None:
    """Or it would pass by seeing nothing."""
    seen = {f"{ask.contract}.{ask.attribute}" for ask in core_asks}
    assert seen >= {
        "Platform.memory_info",
        "Platform.get_attn_backend_cls",
        "Platform.op_overrides",
        "Platform.load_backend",
        "AttentionBackend.forward",
        "AttentionBackend.build_metadata",
        "AttentionBackend.kv_cache_shapes",
        "AttentionBackend.supported_dtypes",
        "CommunicatorBase.all_reduce",
        "CommunicatorBase.all_gather",
        "CommunicatorBase.destroy",
        "CapturedForward.replay",
        "WorkerBase.execute",
        "WorkerBase.load_model",
        "ModelRunnerBase.prepare_inputs",
        "ExecutorBase.submit",
        "StepHandle.sample",
        "SchedulerInterface.schedule",
        "LogitsProcessor.apply",
        "LinearMethod.create_weights",
    }
    assert {ask.contract for ask in core_asks} == set(CONTRACTS)


def test_a_platform_declares_nothing_that_nobody_asks(core_asks: list[Ask]) -> None:
    """What authors fill in vain is worse than nothing. `capabilities` is asked by the contract itself, one by one."""
    asked = {ask.attribute for ask in core_asks if ask.contract == "Platform"}
    own = {name for name in {*vars(Platform), *Platform.__annotations__} if not name.startswith("_")}
    assert own - asked == {"capabilities"}


# ---- the walk itself

WAYS = {
    "argument": "def f(platform: Platform): platform.bark()",
    "optional argument": "def f(*, platform: 'Platform | None'): platform.bark()",
    "generic": "def f(b: AttentionBackend[Any]): b.bark()",
    "variable": "def f(x):\n p: Platform = x\n p.bark()",
    "attribute of a class": "class A:\n platform: Platform\ndef f(a): a.platform.bark()",
    "attribute kept": "class A:\n def __init__(self, platform: Platform): self.mine = platform\n def g(self): self.mine.bark()",
    "attribute annotated": "class A:\n def __init__(self): self.tp: CommunicatorBase | None = None\ndef f(w): w.tp.bark()",
    "kept with others": "class A:\n def __init__(self, w: WorkerBase, n): self.n, self.inner = n, w\ndef f(a): a.inner.bark()",
    "returned": "def find() -> Platform: ...\ndef f(): find().bark()",
    "returned by a method": "class A:\n def find(self) -> Platform: ...\n def f(self): self.find().bark()",
    "returned and kept": "def find() -> Platform: ...\ndef f():\n p = find()\n p.bark()",
    "made of a loaded class": "def f(path):\n cls = load_subclass(path, Platform, option='x')\n cls().bark()",
    "made of a returned class": "Class = type[Platform]\ndef find() -> Class: ...\ndef f():\n p = find()()\n p.bark()",
    "of the class": "def f(): WorkerBase.bark",
    "loop": "def f(ps: Sequence[Platform]):\n for p in ps: p.bark()",
    "comprehension": "def f(ps: list[Platform]): return [p.bark() for p in ps]",
    "inner function": "def f(platform: Platform):\n def g(): platform.bark()",
    "lambda": "def f(platform: Platform): return lambda: platform.bark()",
    "or": "def f(platform: Platform | None):\n p = platform or find()\n p.bark()",
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_hold_a_plugins_object_is_seen(way: str) -> None:
    found = [ask for ask in asks({"file.py": WAYS[way]}, CONTRACTS) if ask.attribute == "bark"]
    assert len(found) == 1, found
    assert "bark" not in declared(CONTRACTS[found[0].contract])


@pytest.mark.parametrize("call", ["hasattr(platform, 'bark')", "getattr(platform, name)()"])
def test_strings_are_seen(call: str) -> None:
    (ask,) = asks({"file.py": f"def f(platform: Platform, name): {call}"}, CONTRACTS)
    assert (ask.contract, ask.attribute) == ("Platform", None)


def test_other_objects_are_left_alone() -> None:
    methods = "class A:\n def resolve(self) -> Platform: ...\ndef f(path: Path): path.resolve().bark()"
    assert asks({"file.py": methods}, CONTRACTS) == []
    text = "import platform\ndef f(make: Callable[[Platform], int], platform: str):\n platform.bark()\n make.bark()\nplatform.bark()"
    assert asks({"file.py": text}, CONTRACTS) == []
