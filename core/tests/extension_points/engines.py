"""Owns the engines of these examples: the embedded model, greedy, in fp32, on cpu_ref or on a platform that an example derives from it."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from vllm import SamplingParams
from vllm.config.engine_args import EngineArgs
from vllm.config.resolve import create_engine_config
from vllm.engine.llm_engine import LLMEngine
from vllm.errors import VllmError
from vllm.platforms import Platform, load_platform
from vllm_cpu_ref.platform import CpuRefPlatform

__all__ = ["PROMPTS", "assert_refused", "example_engine", "generated", "plain_tokens", "prompt_lengths"]

PROMPTS = ("Count: 17 18 19", "The", "A longer prompt, so that rows differ: 1 2 3 4 5 6 7 8 9")
GREEDY = SamplingParams(temperature=0.0, max_tokens=12, ignore_eos=True)


@contextmanager
def example_engine(platform: type[Platform] = CpuRefPlatform, **options: Any) -> Iterator[LLMEngine]:
    """An engine on `platform`, found by its dotted path as in any other process; shut down in the end."""
    small = {"dtype": "float32", "max_model_len": 256, "max_num_seqs": 8, "kv_cache_memory_bytes": 2**24}
    path = f"{platform.__module__}.{platform.__qualname__}"
    args = EngineArgs.from_kwargs({**small, **options})
    engine = LLMEngine(create_engine_config(args, load_platform(path)))
    try:
        yield engine
    finally:
        engine.shutdown()


def generated(engine: LLMEngine, prompts: Sequence[str] = PROMPTS, params: SamplingParams = GREEDY) -> list[list[int]]:
    """The prompts' token ids, all in one batch."""
    for index, prompt in enumerate(prompts):
        engine.add_request(str(index), prompt, params)
    tokens: dict[int, list[int]] = {}
    while engine.has_unfinished_requests():
        for output in engine.step():
            if output.finished:
                tokens[int(output.request_id)] = list(output.outputs[0].token_ids)
    return [tokens[index] for index in range(len(prompts))]


@functools.cache
def plain_tokens() -> list[list[int]]:
    """What cpu_ref generates with nothing replaced."""
    with example_engine() as engine:
        return generated(engine)


def prompt_lengths(engine: LLMEngine) -> list[int]:
    """Tokens of each prompt."""
    assert engine.tokenizer is not None
    return [len(engine.tokenizer.encode(prompt)) for prompt in PROMPTS]


def assert_refused(
    error: type[VllmError], said: str, platform: type[Platform] = CpuRefPlatform, **options: Any
) -> None:
    """No engine comes of it, but an error that says `said`."""
    with pytest.raises(error, match=said), example_engine(platform, **options):
        pass
