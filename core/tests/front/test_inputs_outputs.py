"""Prompt forms, and the objects that a user gets back."""

from __future__ import annotations

from typing import Any

import pytest

from vllm.errors import InvalidRequestError
from vllm.inputs import ParsedPrompt, TokensPrompt, as_prompt_list, check_token_ids, parse_prompt
from vllm.outputs import CompletionOutput, FlatLogprobs, Logprob, RequestOutput


@pytest.mark.parametrize(
    "prompt,text,token_ids,salt",
    [
        ("hello", "hello", None, None),
        ("", "", None, None),
        ([1, 2], None, [1, 2], None),
        ((0,), None, [0], None),
        ({"prompt": "x"}, "x", None, None),
        ({"prompt": "x", "cache_salt": "s" * 128}, "x", None, "s" * 128),
        ({"prompt_token_ids": [5]}, None, [5], None),
        (TokensPrompt(prompt_token_ids=[5], prompt="five", cache_salt="z"), "five", [5], "z"),
        ({"prompt": "x", "multi_modal_data": None}, "x", None, None),
    ],
)
def test_every_form_of_a_prompt(prompt: Any, text: str | None, token_ids: list[int] | None, salt: str | None) -> None:
    assert parse_prompt(prompt) == ParsedPrompt(text=text, token_ids=token_ids, cache_salt=salt)


@pytest.mark.parametrize(
    "prompt,message",
    [
        ([], "empty"),
        ([1, -5], "-5"),
        ([1, 2.0], "2.0 is a float"),
        ([True], "True is a bool"),
        ([[1]], r"\[1\] is a list"),
        (None, "NoneType"),
        (b"x", "bytes"),
        (7, "int"),
        ({}, "needs `prompt` or `prompt_token_ids`"),
        ({"prompt": 5}, "got a int"),
        ({"prompt_token_ids": "abc"}, "got a str"),
        ({"prompt_token_ids": []}, "empty"),
        ({"promt": "x"}, "Did you mean: prompt"),
        ({"prompt_embeds": [0.1]}, "embeddings are not supported"),
        ({"prompt": "x", "multi_modal_data": {"image": 1}}, "not a multimodal model"),
        ({"prompt": "x", "cache_salt": ""}, "1 to 128 characters, got 0"),
        ({"prompt": "x", "cache_salt": "s" * 129}, "1 to 128 characters, got 129"),
        ({"prompt": "x", "cache_salt": 3}, "must be a string"),
    ],
)
def test_a_wrong_prompt_is_refused_with_its_reason(prompt: Any, message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        parse_prompt(prompt)


def test_numpy_integers_become_plain_ones() -> None:
    numpy = pytest.importorskip("numpy")
    parsed = parse_prompt([numpy.int64(3), numpy.int32(4)])
    assert parsed.token_ids == [3, 4] and all(type(i) is int for i in parsed.token_ids or ())


@pytest.mark.parametrize(
    "prompts,count",
    [
        ("a", 1),
        (["a", "b"], 2),
        ([1, 2, 3], 1),
        ([[1], [2, 3]], 2),
        ({"prompt": "a"}, 1),
        ([{"prompt": "a"}], 1),
        ([], 0),
    ],
)
def test_one_prompt_or_several(prompts: Any, count: int) -> None:
    assert len(as_prompt_list(prompts)) == count


def test_neither_prompt_nor_prompts() -> None:
    with pytest.raises(InvalidRequestError, match="got a int"):
        as_prompt_list(5)


def test_ids_must_lie_in_the_vocabulary() -> None:
    check_token_ids([0, 2047], 2048)
    with pytest.raises(InvalidRequestError, match="Token id 2053 is out of vocabulary"):
        check_token_ids([1, 2053], 2048)
    with pytest.raises(InvalidRequestError, match="empty"):
        check_token_ids([], 2048)


def _positions() -> list[dict[int, Logprob] | None]:
    return [None, {5: Logprob(-0.5, 1, "a"), 9: Logprob(-1.5, 2, "b")}, {}, {7: Logprob(-2.0)}]


def test_flat_logprobs_read_like_a_list_of_dicts() -> None:
    plain, flat = _positions(), FlatLogprobs()
    flat.extend(plain)
    assert flat == plain and len(flat) == 4 and list(flat) == plain
    assert [flat[i] for i in (-1, -4, 1)] == [plain[-1], None, plain[1]]
    assert flat[1:3] == plain[1:3] and flat[::-1] == plain[::-1]
    with pytest.raises(IndexError):
        flat[4]


def test_flat_logprobs_take_columns() -> None:
    flat = FlatLogprobs()
    flat.append_arrays([5, 9], [-0.5, -1.5], [1, 2], ["a", "b"])
    assert flat == [_positions()[1]]
    assert list(flat.token_ids) == [5, 9] and list(flat.ends) == [2]


def test_outputs_take_vllms_fields() -> None:
    completion = CompletionOutput(0, " 20", [663, 31], None, None, finish_reason="length")
    output = RequestOutput("1", "Count:", [0, 38], None, [completion], True, num_cached_tokens=0)
    assert completion.finished() and output.outputs[0].text == " 20"
    assert (output.metrics, output.lora_request, completion.stop_reason) == (None, None, None)
