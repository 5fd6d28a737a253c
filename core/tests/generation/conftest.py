"""Engines for the generation tests: the embedded model on cpu_ref, fp32, invariants checked after every step."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from vllm import LLM
from vllm.engine.core import EngineCore

NewLLM = Callable[..., LLM]


@pytest.fixture(autouse=True)
def invariants_after_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks balance, no block is in two places, counts agree: asked of the real scheduler after every step of every test."""
    step = EngineCore.step

    def checked(core: EngineCore) -> object:
        result = step(core)
        core.scheduler.check_invariants()
        return result

    monkeypatch.setattr(EngineCore, "step", checked)


@pytest.fixture
def new_llm() -> Iterator[NewLLM]:
    """Makes engines that are shut down after the test."""
    engines: list[LLM] = []

    def make(model: str | None = None, **options: object) -> LLM:
        engines.append(LLM(model, **{"dtype": "float32", "max_model_len": 320, **options}))
        return engines[-1]

    yield make
    for engine in engines:
        engine.shutdown()


@pytest.fixture(scope="module")
def llm() -> Iterator[LLM]:
    """One ample engine for tests that leave nothing behind."""
    engine = LLM(dtype="float32", max_model_len=1024, max_num_seqs=64, max_num_batched_tokens=256)
    yield engine
    engine.shutdown()
