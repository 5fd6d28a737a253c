"""Grammars that take long: in the core they hold up nobody, and who gives up on one leaves nothing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from vllm import SamplingParams
from vllm.config.engine_args import EngineArgs
from vllm.engine.async_llm import AsyncLLM
from vllm.engine.core import EngineCore
from vllm.engine.core_client.in_thread import ThreadClient
from vllm.engine.model_text import late_grammar_factory
from vllm.sampling.structured_output import GrammarFactory
from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

ARGS: dict[str, Any] = {"max_num_seqs": 4, "num_gpu_blocks_override": 600}


def params(**more: Any) -> SamplingParams:
    return SamplingParams(**{"temperature": 0.0, "max_tokens": 8, "output_kind": RequestOutputKind.DELTA, **more})


class SlowGrammars:
    """A factory whose grammars are ready when the test says so."""

    def __init__(self, factory: GrammarFactory) -> None:
        self.vocab_size, self.fill_bitmasks, self._factory = factory.vocab_size, factory.fill_bitmasks, factory
        self.asked, self.may_answer = threading.Event(), threading.Event()

    def new_state(self, constraint: StructuredOutputsParams) -> Any:
        self.asked.set()
        assert self.may_answer.wait(60)
        return self._factory.new_state(constraint)


@pytest.fixture
def slow() -> Iterator[tuple[AsyncLLM, SlowGrammars]]:
    config = EngineArgs(**ARGS).create_engine_config()
    factory = late_grammar_factory(config)
    assert factory is not None
    grammars = SlowGrammars(factory)
    engine = AsyncLLM(config, client=ThreadClient(lambda: EngineCore(config, grammars)))  # type: ignore[arg-type]
    yield engine, grammars
    grammars.may_answer.set()
    engine.shutdown()


YES = StructuredOutputsParams(choice=["yes"])


def test_steps_of_others_go_on_while_a_grammar_is_compiled(slow: tuple[AsyncLLM, SlowGrammars]) -> None:
    engine, grammars = slow

    async def story() -> None:
        constrained = asyncio.create_task(
            engine.add_request("slow", [1, 2, 3], params(structured_outputs=YES, n=2, temperature=1.0))
        )
        await asyncio.to_thread(grammars.asked.wait, 60)
        async for other in engine.generate([1, 2, 3], params(output_kind=RequestOutputKind.FINAL_ONLY), "other"):
            assert len(other.outputs[0].token_ids) == 8
        grammars.may_answer.set()
        stream, texts = await constrained, ["", ""]
        finished = False
        while not finished:
            output = await stream.get()
            finished = output.finished
            for each in output.outputs:
                texts[each.index] += each.text
        assert texts == ["yes", "yes"]

    asyncio.run(story())


def test_a_request_that_is_aborted_while_its_grammar_is_compiled_ends_as_one(
    slow: tuple[AsyncLLM, SlowGrammars],
) -> None:
    engine, grammars = slow

    async def story() -> None:
        await engine.add_request("slow", [1, 2, 3], params(structured_outputs=YES))
        await asyncio.to_thread(grammars.asked.wait, 60)
        await engine.abort("slow")
        grammars.may_answer.set()
        assert engine.metrics is not None
        registry = engine.metrics.registry
        name = engine.config.model_config.served_model_name
        labels = {"model_name": name, "engine": "0", "finished_reason": "abort"}
        while not registry.get_sample_value("vllm:request_success_total", labels):
            async for _ in engine.generate([1, 2, 3], params(), "other"):
                pass
        assert engine.num_unfinished_requests == 0

    asyncio.run(story())
