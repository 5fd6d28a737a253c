"""SamplingParams: defaults, limits, normalisation, and what it costs to import."""

from __future__ import annotations

import subprocess
import sys

import pytest

from vllm.errors import InvalidRequestError
from vllm.sampling_params import (
    BeamSearchParams,
    RepetitionDetectionParams,
    RequestOutputKind,
    SamplingParams,
    SamplingType,
    StructuredOutputsParams,
)


def test_defaults_are_those_vllm_users_know() -> None:
    params = SamplingParams()
    assert (params.n, params.temperature, params.top_p, params.top_k, params.min_p) == (1, 1.0, 1.0, 0, 0.0)
    assert (params.max_tokens, params.min_tokens, params.seed, params.logprobs) == (16, 0, None, None)
    assert (params.stop, params.stop_token_ids, params.bad_words) == ([], [], [])
    assert params.detokenize and params.skip_special_tokens and params.spaces_between_special_tokens
    assert params.output_kind is RequestOutputKind.CUMULATIVE
    assert params.sampling_type is SamplingType.RANDOM


@pytest.mark.parametrize(
    "field,value,limit",
    [
        ("temperature", 2.5, "[0, 2]"),
        ("temperature", -0.1, "[0, 2]"),
        ("temperature", float("nan"), "[0, 2]"),
        ("temperature", "0.5", "a number"),
        ("top_p", 0.0, "(0, 1]"),
        ("top_p", 1.01, "(0, 1]"),
        ("min_p", -0.5, "[0, 1]"),
        ("top_k", -2, "at least -1"),
        ("top_k", 1.5, "an integer"),
        ("presence_penalty", 2.1, "[-2, 2]"),
        ("frequency_penalty", -2.1, "[-2, 2]"),
        ("repetition_penalty", 0.0, "within [1e-06, 1e+06]"),
        ("repetition_penalty", float("inf"), "within [1e-06, 1e+06]"),
        ("n", 0, "at least 1"),
        ("n", 16385, "at most 16384"),
        ("n", True, "an integer"),
        ("seed", 2**63, "at most 9223372036854775807"),
        ("max_tokens", 0, "at least 1"),
        ("min_tokens", -1, "at least 0"),
        ("min_tokens", 17, "max_tokens=16"),
        ("logprobs", -2, "at least -1"),
        ("prompt_logprobs", -2, "at least -1"),
        ("stop", ["a", "b", "c", "d", "e"], "at most 4"),
        ("stop", 7, "a string or a list of strings"),
        ("bad_words", "", "empty"),
        ("stop_token_ids", [1, -1], "at least 0"),
        ("stop_token_ids", "12", "a list of integers"),
        ("logit_bias", [1], "a mapping"),
        ("allowed_token_ids", [], "at least one id"),
        ("output_kind", "delta", "RequestOutputKind"),
        ("extra_args", [1], "dict"),
        ("stream_interval", 0, "at least 1"),
    ],
)
def test_a_value_outside_its_limit_is_refused_by_name(field: str, value: object, limit: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        SamplingParams(**{field: value})
    assert field in str(caught.value) and limit in str(caught.value)
    assert caught.value.parameter is not None and caught.value.parameter.startswith(field)
    assert isinstance(caught.value, ValueError)


def test_values_at_their_limits_pass() -> None:
    SamplingParams(temperature=2, presence_penalty=-2, frequency_penalty=2, n=16384, stop=list("abcd"), top_p=1e-9)
    SamplingParams(min_tokens=16, max_tokens=16, logprobs=-1, prompt_logprobs=0, min_p=1, repetition_penalty=1e-3)


def test_values_are_normalised() -> None:
    params = SamplingParams(stop="END", top_k=-1, seed=-1, temperature=1, logit_bias={"7": 1}, stop_token_ids=(3,))
    assert (params.stop, params.top_k, params.seed, params.stop_token_ids) == (["END"], 0, None, [3])
    assert params.logit_bias == {7: 1.0} and isinstance(params.temperature, float)


def test_n_above_one_needs_randomness() -> None:
    with pytest.raises(InvalidRequestError, match="`n` must be 1"):
        SamplingParams(n=2, temperature=0.0)


def test_stop_strings_need_text() -> None:
    with pytest.raises(InvalidRequestError, match="detokenize"):
        SamplingParams(stop="x", detokenize=False)


@pytest.mark.parametrize(
    "temperature,seed,kind",
    [
        (0.0, None, SamplingType.GREEDY),
        (9e-6, 5, SamplingType.GREEDY),
        (1e-5, None, SamplingType.RANDOM),
        (1.0, 0, SamplingType.RANDOM_SEED),
    ],
)
def test_sampling_type(temperature: float, seed: int | None, kind: SamplingType) -> None:
    params = SamplingParams(temperature=temperature, seed=seed)
    assert params.sampling_type is kind and params.is_greedy == (kind is SamplingType.GREEDY)


def test_verify_catches_what_was_changed_afterwards() -> None:
    params = SamplingParams()
    params.temperature = 3.0
    with pytest.raises(InvalidRequestError, match="temperature"):
        params.verify()
    params.temperature = 0.5
    params.stop = "now a text"
    params.verify()
    assert params.stop == ["now a text"]


def test_a_misspelt_field_cannot_be_set() -> None:
    params = SamplingParams()
    with pytest.raises(AttributeError):
        params.temprature = 0.0  # type: ignore[attr-defined]


def test_a_clone_shares_no_container() -> None:
    params = SamplingParams(
        stop=["a"], logit_bias={1: 1.0}, extra_args={"k": [1]}, structured_outputs={"choice": ["x"]}, n=3
    )
    twin = params.clone()
    assert twin == params
    twin.stop.append("b")
    twin.logit_bias[2] = 1.0
    twin.extra_args["k"].append(2)
    twin.structured_outputs.choice.append("y")
    assert params.stop == ["a"] and params.logit_bias == {1: 1.0} and params.extra_args == {"k": [1]}
    assert params.structured_outputs.choice == ["x"]


def test_from_optional_takes_none_for_not_given() -> None:
    params = SamplingParams.from_optional(temperature=None, top_p=0.5, max_tokens=None, logit_bias={"5": 500, 6: -500})
    assert (params.temperature, params.top_p, params.max_tokens) == (1.0, 0.5, None)
    assert params.logit_bias == {5: 100.0, 6: -100.0}
    assert SamplingParams.from_optional() == SamplingParams()


@pytest.mark.parametrize("field", ["allowed_token_ids", "stop_token_ids", "logprob_token_ids"])
def test_ids_out_of_vocabulary_are_refused(field: str) -> None:
    SamplingParams(**{field: [0, 99]}).check_against_model(vocab_size=100, max_model_len=64, max_logprobs=20)
    with pytest.raises(InvalidRequestError, match=f"{field}.*100.*from 0 to 99"):
        SamplingParams(**{field: [5, 100]}).check_against_model(vocab_size=100, max_model_len=64, max_logprobs=20)


def test_bias_for_an_unknown_token_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="logit_bias"):
        SamplingParams(logit_bias={100: 1}).check_against_model(vocab_size=100, max_model_len=64, max_logprobs=20)


@pytest.mark.parametrize("field", ["logprobs", "prompt_logprobs"])
def test_more_logprobs_than_the_engine_permits(field: str) -> None:
    model = {"vocab_size": 100, "max_model_len": 64}
    SamplingParams(**{field: 20}).check_against_model(max_logprobs=20, **model)
    SamplingParams(**{field: -1}).check_against_model(max_logprobs=100, **model)
    SamplingParams(**{field: -1}).check_against_model(max_logprobs=-1, **model)
    for wanted in (21, -1):
        with pytest.raises(InvalidRequestError, match=f"{field}.*20.*max-logprobs"):
            SamplingParams(**{field: wanted}).check_against_model(max_logprobs=20, **model)


def test_min_tokens_must_fit_the_context() -> None:
    with pytest.raises(InvalidRequestError, match=r"min_tokens.*64"):
        SamplingParams(min_tokens=64, max_tokens=64).check_against_model(
            vocab_size=100, max_model_len=64, max_logprobs=20
        )


@pytest.mark.parametrize("values", [{"stop": "x"}, {"bad_words": ["x"]}, {"structured_outputs": {"regex": "a"}}])
def test_text_features_need_the_tokenizer(values: dict[str, object]) -> None:
    with pytest.raises(InvalidRequestError, match="skip_tokenizer_init"):
        SamplingParams(**values).check_against_model(
            vocab_size=100, max_model_len=64, max_logprobs=20, has_tokenizer=False
        )


def test_limits_can_be_set_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_MAX_STOP_STRINGS", "1")
    monkeypatch.setenv("VLLM_MAX_N_SEQUENCES", "2")
    for values in ({"stop": ["a", "b"]}, {"n": 3}):
        with pytest.raises(InvalidRequestError, match="at most"):
            SamplingParams(**values)


@pytest.mark.parametrize(
    "values,text",
    [
        ({}, "exactly one"),
        ({"json": "{}", "regex": "a"}, "exactly one"),
        ({"json_object": False}, "exactly one"),
        ({"choice": []}, "at least one"),
        ({"choice": ["a", ""]}, "empty"),
        ({"regex": ""}, "non-empty"),
        ({"json": 3}, "JSON schema"),
    ],
)
def test_structured_outputs_want_exactly_one_constraint(values: dict[str, object], text: str) -> None:
    with pytest.raises(InvalidRequestError, match=text):
        StructuredOutputsParams(**values)


def test_a_pydantic_model_becomes_its_schema() -> None:
    pydantic = pytest.importorskip("pydantic")
    model = pydantic.create_model("Point", x=(int, ...))
    params = StructuredOutputsParams(json=model)
    assert params.json["properties"]["x"]["type"] == "integer" and params.kind == "json"


def test_repetition_detection_limits() -> None:
    assert RepetitionDetectionParams(max_pattern_size=3) == RepetitionDetectionParams(
        max_pattern_size=3, min_pattern_size=1, min_count=2
    )
    for values in ({"max_pattern_size": 0}, {"max_pattern_size": 2, "min_pattern_size": 3}):
        with pytest.raises(InvalidRequestError, match="max_pattern_size"):
            RepetitionDetectionParams(**values)


def test_beam_search_limits() -> None:
    assert BeamSearchParams(beam_width=2, max_tokens=5).length_penalty == 1.0
    with pytest.raises(InvalidRequestError, match="beam_width"):
        BeamSearchParams(beam_width=0, max_tokens=5)


def test_import_loads_nothing_heavy() -> None:
    code = "import sys, vllm.sampling_params, vllm.outputs, vllm.inputs; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "vllm.sampling_params" in modules
    assert not {"torch", "numpy", "transformers", "tokenizers", "msgspec", "llguidance"} & set(modules)
