"""Stop strings: found wherever tokens cut them, held back while they may still come, the same however the text arrives."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vllm.sampling_params import SamplingParams
from vllm.text.output_text import OutputText, StopHit, decode_output
from vllm.text.stop import StopMatch, StopStrings
from vllm.text.tokenizer import Tokenizer

SHORT = st.text("ab-", min_size=1, max_size=4)


def naive_match(stops: list[str], text: str) -> StopMatch | None:
    """The twin: read character by character; the first complete stop string wins, the longest of several."""
    for end in range(1, len(text) + 1):
        for stop in sorted(stops, key=len, reverse=True):
            if text[:end].endswith(stop):
                return StopMatch(stop=stop, start=end - len(stop), end=end)
    return None


@settings(max_examples=400, deadline=None)
@given(stops=st.lists(SHORT, min_size=1, max_size=4), pieces=st.lists(st.text("ab-", max_size=5), max_size=12))
def test_the_match_does_not_depend_on_the_cuts(stops: list[str], pieces: list[str]) -> None:
    expected, strings, text, found, shown = naive_match(stops, "".join(pieces)), StopStrings(stops), "", None, 0
    for piece in pieces:
        searched, text = len(text), text + piece
        found = strings.find(text, searched)
        if found is not None:
            break
        visible = len(text) - strings.held_back_chars(text)
        assert visible >= shown, "shown text was taken back"
        shown = visible
    assert found == expected
    if found is not None:
        assert shown <= found.start, "a part of the stop string was shown"


@settings(max_examples=200, deadline=None)
@given(stops=st.lists(SHORT, min_size=1, max_size=4), text=st.text("ab-", max_size=12))
def test_held_back_is_the_longest_end_that_begins_a_stop_string(stops: list[str], text: str) -> None:
    starts = {stop[:length] for stop in stops for length in range(1, len(stop))}
    expected = max((length for length in range(len(text) + 1) if text[len(text) - length :] in starts), default=0)
    assert StopStrings(stops).held_back_chars(text) == expected


def run(tokenizer: Tokenizer, text: str, portion: int = 1, **params: Any) -> tuple[OutputText, StopHit | None, str]:
    """Feed a text's tokens in portions; give the output, the stop string hit, and all deltas joined."""
    output = OutputText(tokenizer, [0], SamplingParams(max_tokens=500, **params))
    ids, hit, deltas = tokenizer.encode(text, add_special_tokens=False), None, ""
    for start in range(0, len(ids), portion):
        hit = output.append(ids[start : start + portion])
        deltas += output.take_delta()
        if hit is not None:
            break
    output.finish()
    return output, hit, deltas + output.take_delta()


@pytest.mark.parametrize("portion", [1, 2, 3, 50])
@pytest.mark.parametrize(
    "stop,include,expected",
    [
        ("\n\n", False, "one two"),
        ("\n\n", True, "one two\n\n"),
        ("two", False, "one "),
        ("two", True, "one two"),
        ("e t", False, "on"),
        (["zzz", "wo\n"], False, "one t"),
        ("👩", False, "one two\n\nthree "),
        ("\u200d👩", True, "one two\n\nthree 👩\u200d👩"),
    ],
)
def test_a_stop_string_across_tokens(tiny: Tokenizer, stop: Any, include: bool, expected: str, portion: int) -> None:
    output, hit, deltas = run(
        tiny, "one two\n\nthree 👩\u200d👩 four", portion, stop=stop, include_stop_str_in_output=include
    )
    assert hit is not None and hit.stop in ([stop] if isinstance(stop, str) else stop)
    assert output.text == expected == deltas


def test_tokens_behind_the_stop_string_are_not_used(tiny: Tokenizer) -> None:
    ids = tiny.encode("a|b|c", add_special_tokens=False)
    output = OutputText(tiny, [0], SamplingParams(stop="|b"))
    hit = output.append(ids)
    assert hit is not None and hit.stop == "|b"
    assert "|b" in tiny.decode(ids[: hit.used_tokens]) and "|b" not in tiny.decode(ids[: hit.used_tokens - 1])


def test_what_might_be_a_stop_string_is_held_back_then_shown(tiny: Tokenizer) -> None:
    output = OutputText(tiny, [0], SamplingParams(stop="###END"))
    seen = []
    for piece in ("ab", "#", "##", "EN", "x"):
        output.append(tiny.encode(piece, add_special_tokens=False))
        seen.append(output.text)
    assert seen == ["ab", "ab", "ab", "ab", "ab###ENx"]


def test_what_was_held_back_comes_at_the_end(tiny: Tokenizer) -> None:
    output, hit, deltas = run(tiny, "ab##", stop="###")
    assert hit is None and output.text == deltas == "ab##"


def test_nothing_is_held_back_where_the_stop_string_is_included(tiny: Tokenizer) -> None:
    output = OutputText(tiny, [0], SamplingParams(stop="###", include_stop_str_in_output=True))
    output.append(tiny.encode("ab#", add_special_tokens=False))
    assert output.text == "ab#"


def test_min_tokens_lets_early_stop_strings_pass(tiny: Tokenizer) -> None:
    ids = [tiny.encode(letter, add_special_tokens=False)[0] for letter in "xaxbx"]
    output = OutputText(tiny, [0], SamplingParams(stop="x", min_tokens=3))
    assert output.append(ids) == StopHit(stop="x", used_tokens=5)
    assert output.text == "xaxb"


@pytest.mark.parametrize("include,expected", [(False, "a"), (True, "ab")])
def test_a_stop_token_is_text_only_where_asked_for(tiny: Tokenizer, include: bool, expected: str) -> None:
    first, last = (tiny.encode(letter, add_special_tokens=False)[0] for letter in "ab")
    output = OutputText(tiny, [0], SamplingParams(stop_token_ids=[last], include_stop_str_in_output=include))
    output.append([first])
    output.append_stop_token(last)
    output.finish()
    assert output.text == expected


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ids=st.lists(st.integers(0, 2047), max_size=40), portion=st.integers(1, 40))
def test_deltas_add_up_to_the_whole(tiny: Tokenizer, ids: list[int], portion: int) -> None:
    output = OutputText(tiny, [0], SamplingParams(stop=["ab", "e t", "\n\n"], min_tokens=0))
    deltas = ""
    for start in range(0, len(ids), portion):
        hit = output.append(ids[start : start + portion])
        deltas += output.take_delta()
        if hit is not None:
            break
    output.finish()
    assert deltas + output.take_delta() == output.text
    assert decode_output(tiny, [0], ids, SamplingParams()) == tiny.decode(ids, skip_special_tokens=True)
