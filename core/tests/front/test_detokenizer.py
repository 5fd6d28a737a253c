"""Incremental detokenisation against its naive twin, which decodes everything anew after each token."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vllm.text.detokenizer import PieceDetokenizer, WindowDetokenizer, make_detokenizer
from vllm.text.tokenizer import Tokenizer, load_tokenizer

ZWJ_FAMILY = "👩‍👩‍👧‍👦"
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | st.sampled_from(
    [ZWJ_FAMILY, "a b  c\n\n", " x", "é" * 5, "🏳️‍🌈 flag", "\n😀", "世界", "<0x41>", "▁"]
)
PROPERTY = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
KINDS = ("tiny", "byte_level", "sentencepiece", "unigram", "wordpiece")


def naive_text(tokenizer: Tokenizer, prompt: Sequence[int], output: Sequence[int], *, skip: bool = True) -> str:
    """The twin: what decoding prompt and output together adds to decoding the prompt."""
    before = tokenizer.decode(list(prompt), skip_special_tokens=skip)
    return tokenizer.decode([*prompt, *output], skip_special_tokens=skip)[len(before) :]


@PROPERTY
@given(output=st.lists(st.integers(0, 2047), max_size=60), skip=st.booleans(), prompt=TEXTS)
def test_any_tokens_of_a_byte_level_tokenizer(tiny: Tokenizer, output: list[int], skip: bool, prompt: str) -> None:
    prompt_ids = tiny.encode(prompt)
    detokenizer = make_detokenizer(tiny, prompt_ids, skip_special_tokens=skip)
    shown = ""
    for count, token_id in enumerate(output, start=1):
        shown += detokenizer.append([token_id])
        naive = naive_text(tiny, prompt_ids, output[:count], skip=skip)
        assert naive.startswith(shown)
        assert shown.startswith(naive.rstrip("\ufffd")), "text that was certain is held back"
    assert shown + detokenizer.flush() == naive_text(tiny, prompt_ids, output, skip=skip)


@PROPERTY
@given(output=st.lists(st.integers(0, 2047), max_size=60), cuts=st.lists(st.integers(0, 60), max_size=5))
def test_tokens_may_come_in_any_portions(tiny: Tokenizer, output: list[int], cuts: list[int]) -> None:
    detokenizer = make_detokenizer(tiny, [0])
    starts = sorted({0, *cuts})
    portions = (output[a:b] for a, b in zip(starts, [*starts[1:], None], strict=True))
    shown = "".join(map(detokenizer.append, portions))
    assert shown + detokenizer.flush() == naive_text(tiny, [0], output)


@pytest.mark.parametrize("kind", KINDS)
def test_texts_come_out_as_whole_decoding_gives_them(folders: dict[str, Path], kind: str) -> None:
    tokenizer = load_tokenizer(folders[kind])

    @PROPERTY
    @given(prompt=TEXTS, output=TEXTS)
    def check(prompt: str, output: str) -> None:
        prompt_ids, ids = tokenizer.encode(prompt), tokenizer.encode(output, add_special_tokens=False)
        expected = naive_text(tokenizer, prompt_ids, ids)
        detokenizer = make_detokenizer(tokenizer, prompt_ids)
        shown = ""
        for token_id in ids:
            shown += detokenizer.append([token_id])
            assert expected.startswith(shown)
        assert shown + detokenizer.flush() == expected

    check()


@pytest.mark.parametrize("kind", KINDS)
def test_the_window_detokenizer_serves_every_tokenizer(folders: dict[str, Path], kind: str) -> None:
    tokenizer = load_tokenizer(folders[kind])

    @PROPERTY
    @given(prompt=TEXTS, output=TEXTS)
    def check(prompt: str, output: str) -> None:
        prompt_ids, ids = tokenizer.encode(prompt), tokenizer.encode(output, add_special_tokens=False)
        detokenizer = WindowDetokenizer(tokenizer, prompt_ids)
        shown = detokenizer.append(ids) + detokenizer.flush()
        assert shown == naive_text(tokenizer, prompt_ids, ids)

    check()


def test_which_tokenizers_have_pieces(folders: dict[str, Path]) -> None:
    has_pieces = {kind: load_tokenizer(folder).pieces(True) is not None for kind, folder in folders.items()}
    assert has_pieces == {"tiny": True, "byte_level": True, "sentencepiece": True, "unigram": True, "wordpiece": False}


def test_an_emoji_of_several_characters_comes_character_by_character(tiny: Tokenizer) -> None:
    detokenizer = make_detokenizer(tiny, [0])
    steps = [detokenizer.append([i]) for i in tiny.encode(ZWJ_FAMILY, add_special_tokens=False)]
    assert [step for step in steps if step] == list(ZWJ_FAMILY)
    assert len(steps) > len(ZWJ_FAMILY) and detokenizer.flush() == ""


def test_an_incomplete_character_is_shown_by_flush_alone(tiny: Tokenizer) -> None:
    first_bytes = tiny.encode("👩", add_special_tokens=False)[:-1]
    detokenizer = make_detokenizer(tiny, [0])
    assert detokenizer.append(first_bytes) == ""
    assert detokenizer.flush() == "\ufffd" == tiny.decode(first_bytes)


@pytest.mark.parametrize("kind", ["tiny", "byte_level"])
def test_a_character_cut_between_prompt_and_output_is_completed(folders: dict[str, Path], kind: str) -> None:
    tokenizer = load_tokenizer(folders[kind])
    ids = tokenizer.encode("x👩y")
    cut = len(ids) - 2
    for detokenizer in (make_detokenizer(tokenizer, ids[:cut]), WindowDetokenizer(tokenizer, ids[:cut])):
        assert detokenizer.append(ids[cut:]) + detokenizer.flush() == "👩y"


@pytest.mark.parametrize("kind", ["sentencepiece", "unigram"])
def test_the_leading_space_belongs_to_the_output_behind_a_prompt(folders: dict[str, Path], kind: str) -> None:
    tokenizer = load_tokenizer(folders[kind])
    fox = tokenizer.encode("fox", add_special_tokens=False)
    assert tokenizer.pieces(True) is not None
    behind_text = make_detokenizer(tokenizer, tokenizer.encode("the"))
    behind_bos = make_detokenizer(tokenizer, [tokenizer.bos_token_id])
    assert (behind_text.append(fox), behind_bos.append(fox)) == (" fox", "fox")


def test_bytes_that_are_no_utf8_do_not_swallow_what_is_readable(folders: dict[str, Path]) -> None:
    tokenizer = load_tokenizer(folders["sentencepiece"])
    ids = tokenizer.convert_tokens_to_ids(["▁", "a", "<0x41>", "<0xE2>", "a"])
    table = tokenizer.pieces(True)
    assert table is not None
    detokenizer = PieceDetokenizer(table, tokenizer.encode("x"))
    assert [detokenizer.append([i]) for i in ids] == [" ", "a", "A", "", "\ufffda"]


def test_special_tokens_are_shown_or_skipped(tiny: Tokenizer) -> None:
    ids = [*tiny.encode("a", add_special_tokens=False), tiny.eos_token_id]
    assert make_detokenizer(tiny, [0], skip_special_tokens=True).append(ids) == "a"
    assert make_detokenizer(tiny, [0], skip_special_tokens=False).append(ids) == "a<|im_end|>"


@pytest.mark.parametrize("spaces,expected", [(True, "</s> <|sep|>"), (False, "</s><|sep|>")])
def test_spaces_between_special_tokens(folders: dict[str, Path], spaces: bool, expected: str) -> None:
    tokenizer = load_tokenizer(folders["wordpiece"])
    ids = tokenizer.convert_tokens_to_ids(["</s>", "<|sep|>"])
    detokenizer = make_detokenizer(tokenizer, [], skip_special_tokens=False, spaces_between_special_tokens=spaces)
    assert detokenizer.append(ids) == expected


def test_ids_without_a_token_add_nothing(tiny: Tokenizer) -> None:
    assert make_detokenizer(tiny, [0]).append([5000, *tiny.encode("a", add_special_tokens=False)]) == "a"
