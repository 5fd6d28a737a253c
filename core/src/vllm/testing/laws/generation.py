"""Laws of the whole engine on the platform: the embedded model gives what dense fp32 gives, however its requests are run."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from vllm.platforms.capabilities import Feature
from vllm.testing.bench import Bench
from vllm.testing.bounded_executor import BOUNDED
from vllm.testing.comparing_runs import follows_reference, same_answers
from vllm.testing.engines import Answer, Engine, Question, open_engine
from vllm.testing.expert_model import write_expert_model
from vllm.testing.failing_processor import FAILURE, Failing
from vllm.testing.forced_token import ForcedToken
from vllm.testing.law import law
from vllm.testing.planned_failures import planned_failures
from vllm.testing.quantised_checkpoint import w8a8_folder
from vllm.testing.reference_model import QuantisedReference
from vllm.testing.texts import counting, prose

MAX_MODEL_LEN = 512


def _block_size(bench: Bench) -> int:
    return bench.workplace.config(dtype=bench.dtype_name).cache_config.block_size


def _questions(bench: Bench) -> list[Question]:
    """Ragged greedy prompts around the block's edges, counting, and random ones with and without penalties."""
    block, out = _block_size(bench), 12 if bench.quick else 24
    lengths = (1, block - 1, block, block + 1, 2 * block + 5, 40) if block <= 64 else (1, 7, 40, block - 1, block + 1)
    greedy = [Question(prompt=prose()[7 * i : 7 * i + n], max_tokens=out) for i, n in enumerate(lengths)]
    counts = [Question(prompt=counting(first), max_tokens=out) for first in (17, 230)]
    random = [Question(prompt=prose()[100 + i : 120 + 9 * i], max_tokens=out, seed=i) for i in range(3)]
    penalised = Question(prompt=counting(5), max_tokens=out, seed=8, penalty=1.3)
    return [*greedy, *counts, *random, penalised]


def _alone(bench: Bench) -> list[Answer]:
    """The base: every request by itself, its prompt whole where the platform can, no prefix cache."""

    def ask() -> list[Answer]:
        with _engine(bench, max_num_seqs=2, max_num_batched_tokens=MAX_MODEL_LEN) as engine:
            return engine.ask_each_alone(_questions(bench))

    return bench.workplace.kept(("alone", bench.dtype_name), ask)


def _engine(bench: Bench, **options: Any) -> AbstractContextManager[Engine]:
    defaults = {
        "dtype": bench.dtype_name,
        "max_model_len": MAX_MODEL_LEN,
        "max_num_seqs": 16,
        "enable_prefix_caching": False,
        "kv_cache_memory_bytes": 64 * 2**20,
        "enforce_eager": True,
    }
    return open_engine(bench.workplace, **{**defaults, **options})


@law()
def equals_dense_reference(bench: Bench) -> None:
    """Log-probabilities of prompts and of every generated token are those of the embedded model in dense fp32, on the same tokens."""
    follows_reference(bench, _alone(bench))


@law()
def batched_equals_alone(bench: Bench) -> None:
    """What a request gets does not depend on who runs beside it."""
    with _engine(bench, max_num_batched_tokens=2048) as engine:
        same_answers(bench, engine.ask(*_questions(bench)), _alone(bench))


@law(Feature.CHUNKED_PREFILL)
def chunked_equals_whole(bench: Bench) -> None:
    """A prompt computed in chunks, between others' decodes, gives what it gives whole."""
    with _engine(bench, max_num_batched_tokens=24, max_num_seqs=5, enable_chunked_prefill=True) as engine:
        same_answers(bench, engine.ask(*_questions(bench)), _alone(bench))


@law()
def used_blocks_change_nothing(bench: Bench) -> None:
    """Blocks that earlier requests left full, in whatever order they come back, change nothing."""
    few_blocks = -(-MAX_MODEL_LEN // _block_size(bench)) + 4
    with _engine(bench, max_num_seqs=6, num_gpu_blocks_override=few_blocks) as engine:
        engine.ask(*(Question(prompt=prose()[i : i + 30 + 11 * i], max_tokens=3 + 5 * i, seed=i) for i in range(6)))
        same_answers(bench, engine.ask(*_questions(bench)), _alone(bench))


@law()
def preempted_equals_uninterrupted(bench: Bench) -> None:
    """A request whose blocks are taken away in mid-generation goes on as if nothing had happened."""
    block = _block_size(bench)
    length = max(2, 48 // block) * block - 6  # every request wants another block while it generates
    questions = [Question(prompt=prose()[3 * i : 3 * i + length], max_tokens=20) for i in range(4)]
    questions.append(Question(prompt=prose()[50 : 50 + length], max_tokens=20, seed=11))
    tight_blocks = max(-(-(length + 40) // block), 3 * (-(-length // block)))
    options = {"max_num_seqs": 5, "max_model_len": length + 40}
    with _engine(bench, **options) as engine:
        expected = engine.ask_each_alone(questions)
    with _engine(bench, **options, num_gpu_blocks_override=tight_blocks) as engine:
        found = engine.ask(*questions)
    preempted = sum(answer.num_preemptions for answer in found)
    bench.holds(preempted, f"with {tight_blocks} blocks nobody was preempted: the law saw nothing")
    same_answers(bench, found, expected)


@law(Feature.PREFIX_CACHING)
def cache_hit_equals_miss(bench: Bench) -> None:
    """A prompt whose beginning lies in the cache gives what it gives without, also where the same step fills the blocks."""
    questions = [question.unscored() for question in _questions(bench)]
    length = 2 * _block_size(bench) + 3
    twins = [Question(prompt=prose()[: length + i], max_tokens=8, scores_prompt=False) for i in range(3)]
    with _engine(bench) as engine:
        expected_twins = engine.ask_each_alone(twins)
    with _engine(bench, enable_prefix_caching=True) as engine:
        same_answers(bench, engine.ask(*twins), expected_twins)
        first, again = engine.ask(*questions), engine.ask(*questions)
    hits = [sum(answer.num_cached_tokens for answer in answers) for answers in (first, again)]
    bench.holds(hits[1] > hits[0], f"{hits[0]} tokens came from the cache, then {hits[1]}: the law saw nothing")
    same_answers(bench, first, _alone(bench))
    same_answers(bench, again, _alone(bench))


@law(Feature.GRAPH_CAPTURE)
def captured_equals_eager(bench: Bench) -> None:
    """Replayed decode steps give what eager ones give, in full buckets and padded ones."""
    with _engine(bench, enforce_eager=False, cudagraph_capture_sizes=(1, 2, 4, 8)) as engine:
        same_answers(bench, engine.ask(*_questions(bench)), _alone(bench))
        same_answers(bench, engine.ask_each_alone(_questions(bench)), _alone(bench))


@law(Feature.ASYNC_SCHEDULING, quick=False)
def planned_ahead_equals_synchronous(bench: Bench) -> None:
    """Steps planned before the last one's tokens are known give the same tokens."""
    with _engine(bench, async_scheduling=True) as engine:
        same_answers(bench, engine.ask(*_questions(bench)), _alone(bench))


@law(Feature.TENSOR_PARALLEL, quick=False, devices=2)
def two_ranks_equal_one(bench: Bench) -> None:
    """Two devices that share every layer give what one gives."""
    with _engine(bench, tensor_parallel_size=2, distributed_executor_backend=BOUNDED) as engine:
        same_answers(bench, engine.ask(*_questions(bench)), _alone(bench))


@law(Feature.MIXTURE_OF_EXPERTS)
def experts_equal_dense(bench: Bench) -> None:
    """A mixture whose experts are all the embedded MLP, each in an order of its own, answers like the embedded model."""
    with TemporaryDirectory() as folder:
        write_expert_model(Path(folder))
        with _engine(bench, model=folder, enforce_eager=False) as engine:
            answers = engine.ask(*_questions(bench)[3:9])
    follows_reference(bench, answers)


@law(Feature.STRUCTURED_OUTPUT)
def structured_output_is_kept(bench: Bench) -> None:
    """A grammar holds for the rows that ask for it, greedy or random, and for no other."""
    pattern = "(red|green) [0-9]{3}"
    plain = _questions(bench)[6:8]
    asked = [Question(prompt=counting(3 + i), max_tokens=24, seed=i or None, pattern=pattern) for i in range(3)]
    with _engine(bench, skip_tokenizer_init=False) as engine:
        answers = engine.ask(*plain, *asked)
    for number, answer in enumerate(answers[2:]):
        bench.holds(
            re.fullmatch(pattern, answer.text), f"request {number} gave {answer.text!r}, which is not {pattern}"
        )
    same_answers(bench, answers[:2], _alone(bench)[6:8])


@law(Feature.CUSTOM_LOGITS_PROCESSORS)
def custom_processors_are_applied(bench: Bench) -> None:
    """A custom logits processor changes the rows that ask for it, at every step, and no other, while requests come and go."""
    forced = 77
    asked = [Question(prompt=counting(i), max_tokens=4 + 3 * i, forced_token=forced) for i in range(3)]
    questions = _questions(bench)
    with _engine(bench, logits_processors=(ForcedToken.path(),)) as engine:
        answers = engine.ask(*asked, *questions)
    for number, answer in enumerate(answers[:3]):
        bench.equal(f"tokens of request {number}", set(answer.tokens), {forced})
    same_answers(bench, answers[3:], _alone(bench))


@law(Feature.STEP_RECOVERY, Feature.CUSTOM_LOGITS_PROCESSORS)
def a_failed_step_costs_its_request(bench: Bench) -> None:
    """Where a step may raise and cost nothing else, a request that makes its steps raise ends alone, with an error, and changes nobody."""
    questions, expected = _questions(bench)[4:10], _alone(bench)[4:10]
    bad = [Question(prompt=counting(40 + i), max_tokens=12, seed=i or None, fails_after_tokens=4 * i) for i in range(2)]
    with planned_failures(FAILURE), _engine(bench, logits_processors=(Failing.path(),)) as engine:
        answers = engine.ask(*questions[:3], *bad, *questions[3:])
        failed = answers[3:5]
        bench.equal("ends of the requests that fail", [answer.end for answer in failed], ["error", "error"])
        bench.equal("tokens that they got before", [len(answer.tokens) for answer in failed], [0, 4])
        same_answers(bench, answers[:3] + answers[5:], expected)
        same_answers(bench, engine.ask(*questions[:2]), expected[:2])  # nor anybody who comes later


@law(Feature.QUANTIZATION)
def quantised_within_stated_error(bench: Bench) -> None:
    """The embedded model as a W8A8 checkpoint gives what a dense one with the same weights and roundings gives, but for single steps."""
    with w8a8_folder() as folder:
        with _engine(bench, model=str(folder)) as engine:
            answers = engine.ask(*_questions(bench)[4:9])
        reference = QuantisedReference(folder, bench.dtype)
    follows_reference(replace(bench, limits=bench.tolerance.quantised), answers, reference)


@law(Feature.SLEEP_MODE)
def sleeping_changes_nothing(bench: Bench) -> None:
    """After sleep and wake_up, with the weights kept on the host or read again, the same requests give the same."""
    with _engine(bench, enable_sleep_mode=True, enforce_eager=False) as engine:
        engine.ask(*_questions(bench)[:2])
        for level in (1, 2):
            if engine.sleeps(level):
                engine.wake_up()
                same_answers(bench, engine.ask(*_questions(bench)), _alone(bench))
            else:
                bench.left_out.append(f"sleep level {level}, which is refused")
