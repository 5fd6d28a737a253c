"""64 requests of every kind, and how to compare two engines' answers to them."""

from __future__ import annotations

import random
from typing import Any

from vllm import RequestOutput, SamplingParams
from vllm.sampling_params import StructuredOutputsParams

SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 20}, "age": {"type": "integer"}},
    "required": ["name", "age"],
}
_TEXTS = (
    "Count: {n} ",
    "<|im_start|>user\nRepeat: the quick {n} brown fox<|im_end|>\n<|im_start|>assistant\n",
    "The {n} assert statement is",
    "<|im_start|>user\nJSON: name=kim age={n} ok=True<|im_end|>\n<|im_start|>assistant\n",
    "Класс {n} 😀🎉🚀 你好，世界",
)


def params(kind: int, seed: int) -> SamplingParams:
    """One of eight ways to sample; `seed` makes the random ones repeatable."""
    ways: tuple[dict[str, Any], ...] = (
        {"temperature": 0.0, "ignore_eos": True},
        {"temperature": 0.9, "seed": seed, "ignore_eos": True},
        {"temperature": 0.0, "presence_penalty": 0.6, "frequency_penalty": 0.4, "repetition_penalty": 1.2},
        {"temperature": 0.7, "seed": seed, "stop": ["the", "3 4", "\n\n"], "min_tokens": 5},
        {"temperature": 1.0, "seed": seed, "structured_outputs": StructuredOutputsParams(json=SCHEMA)},
        {"temperature": 1.1, "seed": seed, "top_p": 0.9, "top_k": 30, "min_p": 0.01, "min_tokens": 40, "logprobs": 3},
        {"temperature": 0.0, "prompt_logprobs": 2, "logit_bias": {5: 1.5}, "bad_words": ["the"], "ignore_eos": True},
        {"temperature": 1.0, "seed": seed, "n": 2, "allowed_token_ids": list(range(4, 600)), "ignore_eos": True},
    )
    return SamplingParams(max_tokens=88, **ways[kind])


def mixed_requests(count: int = 64) -> tuple[list[str], list[SamplingParams]]:
    """Prompts of very different lengths, each with parameters of its own; always the same."""
    rng = random.Random(20261122)
    prompts = [
        _TEXTS[i % len(_TEXTS)].format(n=rng.randrange(1000)) + " and so" * rng.choice((0, 3, 20, 60))
        for i in range(count)
    ]
    return prompts, [params(i % 8, seed=i) for i in range(count)]


def essence(output: RequestOutput) -> dict[str, Any]:
    """What must be equal however a request was run: tokens, text and the reason it ended."""
    return {
        "prompt": output.prompt,
        "outputs": [(o.index, list(o.token_ids), o.text, o.finish_reason, o.stop_reason) for o in output.outputs],
    }
