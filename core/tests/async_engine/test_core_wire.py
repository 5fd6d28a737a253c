"""What front and engine core say to each other survives the way, and arrays keep dtype and shape."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from vllm import SamplingParams
from vllm.engine.core_client.messages import Abort, Add, Stepped, Stop
from vllm.engine.core_client.wire import decode_from_core, decode_to_core, encode
from vllm.engine.scheduler.interface import SchedulerStats
from vllm.messages import (
    Delivery,
    EngineRequest,
    EngineStepOutput,
    FinishedRequest,
    FinishReason,
    RequestTokens,
    SampledLogprobs,
)
from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

STATS = SchedulerStats(
    num_running=3,
    num_waiting=1,
    kv_cache_usage=0.25,
    num_preemptions=0,
    prefix_cache_queries=4,
    prefix_cache_hits=2,
    prompt_tokens=9,
    generation_tokens=7,
)


def same(left: object, right: object) -> bool:
    """Equality that looks into arrays."""
    if isinstance(left, np.ndarray):
        return isinstance(right, np.ndarray) and left.dtype == right.dtype and np.array_equal(left, right)
    if dataclasses.is_dataclass(left) and not isinstance(left, type):
        fields = dataclasses.fields(left)
        return type(left) is type(right) and all(same(getattr(left, f.name), getattr(right, f.name)) for f in fields)
    if isinstance(left, (list, tuple)):
        return isinstance(right, (list, tuple)) and len(left) == len(right) and all(map(same, left, right))
    return left == right


def test_a_request_survives() -> None:
    params = SamplingParams(
        max_tokens=5,
        stop=["a"],
        logit_bias={3: 1.5},
        structured_outputs=StructuredOutputsParams(json={"type": "object", "properties": {"é": {"type": "null"}}}),
        extra_args={"deep": {"list": [1, None, True, 2.5]}},
        output_kind=RequestOutputKind.DELTA,
    )
    request = EngineRequest(
        request_id="r#0.0",
        prompt_token_ids=np.array([1, 2**31 - 1], np.int32),
        sampling=params,
        seed=2**63 - 1,
        max_tokens=5,
        bad_words_token_ids=((1, 2), (3,)),
        arrival_time_s=1234.56789012345,
        priority=-3,
        cache_salt="salt",
        delivery=Delivery.AT_FINISH,
    )
    back = decode_to_core(encode(Add([request])))
    assert isinstance(back, Add)
    assert same(back.requests[0], request)


def test_a_step_survives() -> None:
    logprobs = SampledLogprobs(
        rows_R=np.array([0], np.int32),
        token_ids_RK=np.array([[5, 6]], np.int32),
        logprobs_RK=np.array([[-0.5, float("-inf")]], np.float32),
        sampled_rank_R=np.array([2], np.int32),
        num_R=np.array([2], np.int32),
    )
    finished = FinishedRequest(
        request_id="b",
        reason=FinishReason.REPETITION,
        stop_reason="words",
        output_token_ids=np.empty(0, np.int32),
        num_cached_tokens=0,
        first_token_time_s=0.1,
    )
    tokens = RequestTokens(
        request_ids=["a"],
        counts_R=np.array([1], np.int32),
        token_ids_M=np.array([5], np.int32),
        num_cached_tokens_R=np.array([0], np.int32),
        logprobs=logprobs,
    )
    step = Stepped(EngineStepOutput(tokens=tokens, finished=(finished,), finished_logprobs=(("b", logprobs),)), STATS)
    back = decode_from_core(encode(step))
    assert isinstance(back, Stepped)
    assert same(back.output, step.output)
    assert back.stats == STATS


def test_small_messages_survive() -> None:
    abort = Abort(["a", "b"], FinishReason.STOP)
    assert decode_to_core(encode(abort)) == abort
    assert decode_to_core(encode(Stop())) == Stop()


def test_what_is_no_plain_data_is_refused_with_its_type() -> None:
    class Odd:
        pass

    params = SamplingParams(extra_args={"odd": Odd()})
    request = EngineRequest(
        request_id="r", prompt_token_ids=np.array([1], np.int32), sampling=params, seed=0, max_tokens=1
    )
    with pytest.raises(NotImplementedError, match="Odd"):
        encode(Add([request]))
