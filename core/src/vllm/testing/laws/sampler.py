"""Laws of the sampler in force: draw by draw it gives what the native sampler gives on the host, for the same logits."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from vllm.sampling.step import GrammarMask
from vllm.testing.bench import Bench
from vllm.testing.law import law
from vllm.testing.sampling_table import VOCAB, Drawing, compare_steps, random_logits, tables


@law()
def greedy(bench: Bench) -> None:
    """Temperature 0 takes the most likely token, of equal ones the first."""
    compare_steps(bench, "greedy", [Drawing.of() for _ in range(6)])
    logits_NV = torch.zeros(3, VOCAB, dtype=bench.dtype)
    logits_NV[1, [40, 41, 650]] = 2.0
    logits_NV[2, [699, 698]] = 1.0
    found, _ = tables(bench, [Drawing.of() for _ in range(3)])
    bench.equal("the first of equal logits", found.sample(logits_NV).tokens_N.tolist(), [0, 40, 698])


@law()
def draws(bench: Bench) -> None:
    """A random token is a function of logits, seed and position: equal to the native sampler's, for many seeds and positions."""
    count = 64 if bench.quick else 256
    requests = [Drawing.of(temperature=0.3 + 0.006 * seed, seed=seed * 7919) for seed in range(count)]
    compare_steps(bench, "draws", requests, steps=8)


@law()
def seeds_matter(bench: Bench) -> None:
    """The same seed draws the same token in any row and batch; other seeds and other positions draw others."""
    flat_NV = torch.zeros(8, VOCAB, dtype=bench.dtype)
    table, _ = tables(bench, [Drawing.of(temperature=1.0, seed=seed) for seed in (5, 6, 5, 7, 8, 5, 9, 10)])
    first = table.sample(flat_NV).tokens_N.tolist()
    bench.equal("tokens of three rows with one seed", (first[2], first[5]), (first[0], first[0]))
    bench.holds(
        len(set(first)) >= 5, f"six seeds drew only {len(set(first))} different tokens of {VOCAB} equally likely ones"
    )
    table.learn(first)
    bench.holds(table.sample(flat_NV).tokens_N.tolist() != first, "another position drew the same tokens")
    alone, _ = tables(bench, [Drawing.of(temperature=1.0, seed=7)])
    bench.equal("the token drawn alone", alone.sample(flat_NV[:1]).tokens_N.tolist(), [first[3]])


@law()
def truncation(bench: Bench) -> None:
    """top_k, top_p and min_p, alone and together, keep the tokens that the native sampler keeps."""
    ways: tuple[dict[str, Any], ...] = (
        {"top_k": 1},
        {"top_k": 5},
        {"top_p": 0.5},
        {"top_p": 0.9, "top_k": 40},
        {"min_p": 0.1},
        {"min_p": 0.02, "top_p": 0.8},
        {},
    )
    requests = [Drawing.of(temperature=1.2, seed=seed, **ways[seed % len(ways)]) for seed in range(42)]
    compare_steps(bench, "truncation", requests)


@law()
def penalties(bench: Bench) -> None:
    """Repetition, frequency and presence penalties count prompt and outputs as the native sampler does, step after step."""
    ways: tuple[dict[str, Any], ...] = (
        {"repetition_penalty": 1.8},
        {"frequency_penalty": 1.5},
        {"presence_penalty": 1.5},
        {"repetition_penalty": 0.7, "frequency_penalty": -0.5, "presence_penalty": 0.3},
        {},
    )
    requests = [
        Drawing.of(
            temperature=0.8 if seed % 2 else 0.0, seed=seed, outputs=(9, 9, 4)[: seed % 4], **ways[seed % len(ways)]
        )
        for seed in range(20)
    ]
    compare_steps(bench, "penalties", requests, steps=10, size=0.7)


@law()
def rules(bench: Bench) -> None:
    """Allowed tokens, biases, bad words and minimum lengths change the logits before the choice."""
    greedy_token = int(random_logits(bench, 4, seed=0)[3].argmax())
    requests = [
        Drawing.of(allowed_token_ids=[3, 5, 699]),
        Drawing.of(temperature=1.0, seed=3, logit_bias={17: 6.0, 650: 6.0}),
        Drawing(params=Drawing.of().params, outputs=(8,), bad_words=((8, greedy_token), (greedy_token,))),
        Drawing(params=Drawing.of(min_tokens=3).params, stop_token_ids=(greedy_token,)),
    ]
    compare_steps(bench, "rules", requests)


@law()
def logprobs(bench: Bench) -> None:
    """Log-probabilities, their tokens and ranks are the native sampler's, for greedy and random rows beside rows without."""
    requests = [
        Drawing.of(logprobs=5),
        Drawing.of(temperature=0.7, seed=1, logprobs=0),
        Drawing.of(temperature=0.7, seed=2),
        Drawing.of(temperature=1.3, seed=3, logprobs=VOCAB, presence_penalty=0.5),
    ]
    compare_steps(bench, "logprobs", requests)


@law()
def grammar_masks(bench: Bench) -> None:
    """A grammar's bits forbid tokens for the rows they are about, and only for those."""
    table, native = tables(bench, [Drawing.of(temperature=temperature, seed=4) for temperature in (0.0, 1.0, 0.0)])
    allowed = {0: [1, 33, 699], 1: [64, 65]}
    bits_GW = np.zeros((2, -(-VOCAB // 32)), np.int32)
    for row, ids in allowed.items():
        for token in ids:
            bits_GW[row, token // 32] |= np.int32(np.uint32(1 << token % 32).astype(np.int32))
    grammar = GrammarMask(row_G=np.array([0, 1]), bits_GW=bits_GW)
    logits_NV = random_logits(bench, 3, seed=1)
    found, expected = (side.sample(logits_NV, grammar).tokens_N.tolist() for side in (table, native))
    bench.equal("tokens under a grammar", found, expected)
    bench.holds(found[0] in allowed[0] and found[1] in allowed[1], f"{found[:2]} are not all allowed: {allowed}")
