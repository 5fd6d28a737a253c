"""Errors teach, and survive the way between processes."""

from __future__ import annotations

import pickle

import pytest

from vllm import errors
from vllm.errors import InvalidRequestError, Unavailable, VllmError, in_a_sentence, near_names, teach

CLASSES = [getattr(errors, name) for name in errors.__all__ if isinstance(getattr(errors, name), type)]


def test_teach() -> None:
    assert teach("It broke.") == "It broke."
    assert teach("It broke.", cause="age", remedy="mend it", candidates=("a", "b")) == (
        "It broke.\n  Likely cause: age\n  Remedy: mend it\n  Did you mean: a, b?"
    )


@pytest.mark.parametrize(
    "name, expected",
    [("llama", ("Llama",)), ("LLAMAForCausal", ("LlamaForCausalLM",)), ("zzz", ())],
)
def test_near_names_ignore_case(name: str, expected: tuple[str, ...]) -> None:
    assert near_names(name, ["Llama", "LlamaForCausalLM", "Qwen2"], limit=1) == expected


def test_near_names_come_best_first() -> None:
    assert near_names("spyre", ["spyr", "spyre2", "ascend", "xspyre22"], limit=2) == ("spyre2", "spyr")


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_survives_pickling(cls: type[VllmError]) -> None:
    error = cls("It broke.", remedy="mend it")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is cls
    assert (str(copy), copy.what, copy.remedy) == ("It broke.\n  Remedy: mend it", "It broke.", "mend it")


def test_what_an_error_knows_beyond_its_text_survives_too() -> None:
    request = pickle.loads(pickle.dumps(InvalidRequestError("n is 0.", parameter="n")))
    assert request.parameter == "n"
    assert pickle.loads(pickle.dumps(Unavailable("no card", "plug it in"))).reason == "no card"


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_is_ours_and_documented(cls: type[VllmError]) -> None:
    assert issubclass(cls, VllmError)
    assert (cls.__doc__ or "").strip()


def test_values_of_the_user_are_value_errors() -> None:
    assert all(
        issubclass(cls, ValueError) for cls in (errors.ConfigError, errors.InvalidRequestError, errors.ModelLoadError)
    )


def test_in_a_sentence_leaves_our_remedies_out() -> None:
    assert in_a_sentence(KeyError("x")) == "KeyError: 'x'"
    assert in_a_sentence(VllmError("It broke.", remedy="mend it")) == "VllmError: It broke."
