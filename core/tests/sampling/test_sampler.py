"""The sampler against its naive twin, hand-computed values for each rule, and rows that do not disturb each other."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest
import torch

from core.tests.sampling.naive_sampler import naive_token
from core.tests.sampling.slots import Case, Table, V, case
from vllm.sampling.step import GrammarMask
from vllm.sampling_params import SamplingParams

NO_TOKEN = float("-inf")


def random_case(rng: random.Random) -> Case:
    """Any mixture of parameters."""
    fields: dict[str, Any] = {"temperature": rng.choice([0.0, 0.3, 1.0, 1.7])}
    wishes: dict[str, Any] = {
        "top_k": rng.choice([1, 5, 99]),
        "top_p": rng.choice([0.1, 0.8, 0.99]),
        "min_p": rng.choice([0.02, 0.5]),
        "repetition_penalty": rng.choice([0.7, 1.5]),
        "frequency_penalty": rng.choice([-1.0, 0.8]),
        "presence_penalty": rng.choice([-0.5, 1.9]),
        "logit_bias": {rng.randrange(V): 3.0, rng.randrange(V): -100.0},
        "allowed_token_ids": rng.sample(range(V), 30),
        "min_tokens": rng.choice([1, 4]),
        "logprobs": rng.choice([0, 3]),
    }
    fields |= {name: wishes[name] for name in rng.sample(sorted(wishes), rng.randrange(5))}
    outputs = [rng.randrange(V) for _ in range(rng.randrange(6))]
    bad_words = tuple(
        tuple(rng.choice([outputs[-1:], [rng.randrange(V)], []]) + [rng.randrange(V)]) for _ in range(rng.randrange(3))
    )
    return Case(
        SamplingParams(**fields),
        prompt=[rng.randrange(V) for _ in range(rng.randrange(1, 8))],
        outputs=outputs,
        seed=rng.getrandbits(63),
        stop_token_ids=tuple(rng.sample(range(V), 3)),
        bad_words=bad_words,
    )


def random_logits(rows: int, seed: int) -> torch.Tensor:
    return 3 * torch.randn(rows, V, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("seed", range(8))
def test_equals_the_naive_twin_over_several_steps(seed: int) -> None:
    rng = random.Random(seed)
    cases = [random_case(rng) for _ in range(12)]
    table = Table(cases)
    for step in range(4):
        logits = random_logits(len(cases), 100 * seed + step)
        expected = [naive_token(row, one) for row, one in zip(logits.tolist(), cases, strict=True)]
        assert table.tokens(logits) == expected
        for one, token in zip(cases, expected, strict=True):
            one.outputs = [*one.outputs, token]


@pytest.mark.parametrize("seed", range(3))
def test_a_row_gets_the_same_alone_and_in_any_company(seed: int) -> None:
    rng = random.Random(1000 + seed)
    cases = [random_case(rng) for _ in range(10)]
    logits = random_logits(10, seed)
    alone = [Table([one]).tokens(logits[i : i + 1])[0] for i, one in enumerate(cases)]
    order = rng.sample(range(10), 10)
    assert Table([cases[i] for i in order]).tokens(logits[order]) == [alone[i] for i in order]


def test_a_slot_taken_by_another_request_keeps_nothing_of_the_first() -> None:
    strict = case(allowed_token_ids=[5], repetition_penalty=2.0, logprobs=2, min_tokens=4, temperature=1.0)
    table = Table([strict])
    logits = random_logits(1, 0)
    assert table.tokens(logits) == [5]
    table.add(1, case(prompt=[int(logits.argmax())]))
    output = table.sample(logits)
    assert output.tokens_N.tolist() == [int(logits.argmax())]
    assert output.logprobs is None


def test_penalties_by_hand() -> None:
    """Prompt 0 0 1, outputs 1 2 2: repetition counts prompt and outputs, the others outputs only."""
    logits = torch.full((1, V), -50.0)
    logits[0, :4] = torch.tensor([4.0, -2.0, 6.0, 2.5])
    params = {"repetition_penalty": 2.0, "frequency_penalty": 0.5, "presence_penalty": 0.25, "logprobs": 4}
    one = case(prompt=[0, 0, 1], outputs=[1, 2, 2], **params)
    output = Table([one], "processed_logits").sample(logits)
    assert output.logprobs is not None
    found = dict(zip(output.logprobs.token_ids_RK[0].tolist(), output.logprobs.logprobs_RK[0].tolist(), strict=True))
    assert found == {3: 2.5, 0: 2.0, 2: 6 / 2 - 2 * 0.5 - 0.25, 1: -2.0 * 2 - 0.5 - 0.25}


def test_min_tokens_holds_stop_tokens_back_until_enough_are_out() -> None:
    logits = torch.zeros(1, V)
    logits[0, 9], logits[0, 4] = 5.0, 1.0
    one = Case(SamplingParams(temperature=0.0, min_tokens=2), stop_token_ids=(9,))
    table = Table([one])
    assert [table.tokens(logits)[0] for _ in range(3)] == [4, 4, 9]


def test_a_bad_word_is_forbidden_only_where_it_would_be_completed() -> None:
    logits = torch.zeros(1, V)
    logits[0, 7], logits[0, 8] = 2.0, 1.0
    table = Table([Case(SamplingParams(temperature=0.0), prompt=[7, 7], bad_words=((7, 7),))])
    assert [table.tokens(logits)[0] for _ in range(4)] == [7, 8, 7, 8]


def test_grammar_bits_allow_exactly_their_tokens() -> None:
    bits = np.zeros((2, 4), np.uint32)
    bits[0, 0] = 1 << 31  # token 31
    bits[1, 3] = 1 << 2  # token 98
    grammar = GrammarMask(row_G=np.array([2, 0]), bits_GW=bits.view(np.int32))
    table = Table([case(), case(), case(temperature=1.0)])
    logits = random_logits(3, 5)
    assert table.sample(logits, grammar).tokens_N.tolist() == [98, int(logits[1].argmax()), 31]


def test_a_mask_shorter_than_the_vocabulary_forbids_the_rest() -> None:
    grammar = GrammarMask(row_G=np.array([0]), bits_GW=np.full((1, 1), -1, np.int32))
    logits = torch.zeros(1, V)
    logits[0, 50], logits[0, 20] = 9.0, 1.0
    assert Table([case()]).sample(logits, grammar).tokens_N.tolist() == [20]


MODES = ["raw_logprobs", "raw_logits", "processed_logprobs", "processed_logits"]


@pytest.mark.parametrize("mode", MODES)
def test_logprobs_modes(mode: str) -> None:
    """Two candidates after top_k; logit 2 against 1, at temperature 0.5."""
    logits = torch.zeros(1, V)
    logits[0, 3], logits[0, 6] = 2.0, 1.0
    one = case(temperature=0.5, top_k=2, logprobs=2, seed=1)
    reported = Table([one], mode).sample(logits).logprobs
    assert reported is not None
    raw_total = math.log(math.e**2 + math.e + V - 2)
    expected = {
        "raw_logits": [2.0, 1.0],
        "raw_logprobs": [2.0 - raw_total, 1.0 - raw_total],
        "processed_logits": [4.0, 2.0],
        "processed_logprobs": [-math.log1p(math.e**-2), -2 - math.log1p(math.e**-2)],
    }[mode]
    assert reported.token_ids_RK[0, 1:].tolist() == [3, 6]
    np.testing.assert_allclose(reported.logprobs_RK[0, 1:], expected, atol=1e-5)


def test_each_row_reports_as_many_logprobs_as_it_asked_for() -> None:
    cases = [case(logprobs=0), case(), case(logprobs=3), case(logprobs=-1), case(logprob_token_ids=[8, 4])]
    logits = random_logits(5, 2)
    reported = Table(cases).sample(logits).logprobs
    assert reported is not None
    assert reported.rows_R.tolist() == [0, 2, 3, 4]
    assert reported.num_R.tolist() == [1, 4, 1 + V, 3]
    assert reported.token_ids_RK[3, 1:3].tolist() == [8, 4]
    expected = logits[4].log_softmax(-1)[[int(logits[4].argmax()), 8, 4]]
    np.testing.assert_allclose(reported.logprobs_RK[3, :3], expected, atol=1e-5)


def test_rank_counts_the_more_likely_tokens() -> None:
    logits = torch.arange(V, dtype=torch.float32)[None]
    one = case(allowed_token_ids=[V - 3], logprobs=0)
    reported = Table([one]).sample(logits).logprobs
    assert reported is not None
    assert reported.sampled_rank_R.tolist() == [3]


def test_a_batch_of_plain_greedy_rows_takes_the_most_likely_token_in_any_dtype() -> None:
    logits = random_logits(3, 1).to(torch.bfloat16)
    assert Table([case(), case(), case()]).tokens(logits) == logits.argmax(-1).tolist()


def test_parameters_become_tensors_only_when_the_rows_change() -> None:
    table = Table([case(temperature=1.0), case(logit_bias={1: 2.0})])
    slots_N = np.array(table.slots, np.int32)
    first = table.sampling.rows(slots_N)
    assert table.sampling.rows(slots_N.copy()) is first
    assert table.sampling.rows(slots_N[::-1].copy()) is not first
    again = table.sampling.rows(slots_N)
    table.sampling.remove(8)
    assert table.sampling.rows(slots_N) is not again
