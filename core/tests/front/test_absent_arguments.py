"""`SamplingParams` with keywords that vLLM has and this release has not."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from vllm.errors import InvalidRequestError
from vllm.sampling_params import SamplingParams

Make: Any = SamplingParams  # a type checker refuses most of what is given here
NOTHING = {"best_of": 1, "length_penalty": 1.0, "early_stopping": False, "use_beam_search": False}


def test_asking_for_nothing_is_granted() -> None:
    none = dict.fromkeys(("best_of", "truncate_prompt_tokens", "logits_processors", "guided_decoding"))
    wanted = SamplingParams(temperature=0.5)
    assert Make(temperature=0.5, **none) == wanted
    assert Make(temperature=0.5, **NOTHING) == wanted
    assert SamplingParams.from_optional(temperature=0.5, **none) == wanted


@pytest.mark.parametrize(
    "name, value, instead",
    [
        ("best_of", 4, "cumulative_logprob"),
        ("truncate_prompt_tokens", 100, "prompt_token_ids"),
        ("logits_processors", [print], "extra_args"),
        ("guided_decoding", {"json": "{}"}, "structured_outputs=StructuredOutputsParams"),
        ("use_beam_search", True, "LLM.beam_search"),
    ],
)
def test_asking_for_it_names_what_to_do_instead(name: str, value: object, instead: str) -> None:
    with pytest.raises(InvalidRequestError, match=f"SamplingParams does not take `{name}` in this release") as caught:
        Make(**{name: value})
    assert caught.value.parameter == name and instead in str(caught.value)


def test_what_vllm_has_not_either_is_python_s_own_error() -> None:
    with pytest.raises(TypeError, match=r"SamplingParams.__init__\(\) got an unexpected keyword argument 'temprature'"):
        Make(temprature=0.5, best_of=None)
    with pytest.raises(TypeError, match=r"SamplingParams.__init__\(\) takes 1 positional argument"):
        Make(3)


def test_copies_are_as_before() -> None:
    params = SamplingParams(stop=["a"], seed=3)
    assert pickle.loads(pickle.dumps(params)) == copy.copy(params) == params.clone() == params
