"""What code written for vLLM says to `LLM` and its engine: absent keywords, request ids, accessors, wrong parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from core.tests.generation.conftest import NewLLM
from vllm import LLM, SamplingParams
from vllm.errors import InvalidRequestError
from vllm.sampling_params import BeamSearchParams

ONE = SamplingParams(max_tokens=1, temperature=0.0)
CHAT = [{"role": "user", "content": "hello"}]
CALLS: list[Callable[..., Any]] = [
    lambda llm, **more: llm.generate("a", ONE, use_tqdm=False, **more),
    lambda llm, **more: llm.chat(CHAT, ONE, use_tqdm=False, **more),
    lambda llm, **more: llm.beam_search(["a"], BeamSearchParams(beam_width=1, max_tokens=1), **more),
]


@pytest.mark.parametrize("call", CALLS, ids=["generate", "chat", "beam_search"])
def test_keywords_of_absent_features(llm: LLM, call: Callable[..., Any]) -> None:
    assert len(call(llm, lora_request=None, tokenization_kwargs=None, chat_template_content_format="auto")) == 1
    with pytest.raises(InvalidRequestError, match=r"does not take `lora_request`.*\n.*no LoRA adapters") as caught:
        call(llm, lora_request=object())
    assert caught.value.parameter == "lora_request"
    with pytest.raises(TypeError, match="unexpected keyword argument 'lora_requests'"):
        call(llm, lora_requests=None)


def test_ids_given_by_the_old_keyword(llm: LLM) -> None:
    with pytest.raises(InvalidRequestError, match="give the ids as prompts"):
        llm.generate(prompt_token_ids=[[1, 2]], sampling_params=ONE)
    with pytest.raises(InvalidRequestError, match="A prompt must be"):
        llm.generate()


def test_request_ids_count_up_and_leave_out_those_in_use(new_llm: NewLLM) -> None:
    llm = new_llm()

    def ids(count: int) -> list[str]:
        return [output.request_id for output in llm.generate(["a"] * count, ONE, use_tqdm=False)]

    assert ids(2) == ["0", "1"]
    llm.llm_engine.add_request("3", "mine", SamplingParams(max_tokens=100, ignore_eos=True))
    assert ids(2) == ["2", "4"]
    assert llm.llm_engine.has_request("3")
    llm.llm_engine.abort_request("3")
    assert ids(1) == ["5"]


def test_the_engine_s_accessors(llm: LLM) -> None:
    engine = llm.llm_engine
    assert engine.vllm_config is engine.config and engine.model_config is engine.config.model_config
    assert engine.get_tokenizer() is llm.get_tokenizer() is engine.tokenizer
    with pytest.raises(AttributeError):
        engine.model_config = None  # type: ignore[misc, assignment]


def test_torchs_dtype_and_no_seed(new_llm: NewLLM) -> None:
    model = new_llm(dtype=torch.float32, seed=None).llm_engine.model_config
    assert (model.dtype, model.seed) == ("float32", 0)


@pytest.mark.parametrize("given", [{"max_tokens": 3}, {}, "greedy", 3])
def test_parameters_that_are_none_are_refused_by_their_class(llm: LLM, given: Any) -> None:
    wanted = rf"`sampling_params` is a {type(given).__name__}; a SamplingParams, or a list"
    with pytest.raises(InvalidRequestError, match=wanted):
        llm.generate("a", given)
    with pytest.raises(InvalidRequestError, match="`priority` is a int; a list of one per prompt is needed"):
        llm.generate("a", ONE, priority=3)  # type: ignore[arg-type]


def test_beam_search_wants_its_own_parameters(llm: LLM) -> None:
    with pytest.raises(InvalidRequestError, match="was given a SamplingParams; it wants a BeamSearchParams"):
        llm.beam_search(["a"], SamplingParams())  # type: ignore[arg-type]
