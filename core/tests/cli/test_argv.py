"""Spellings of a command line before any option is known."""

from __future__ import annotations

import pytest

from vllm.entrypoints.cli.argv import merged, normalized
from vllm.entrypoints.cli.errors import UsageError


@pytest.mark.parametrize(
    "words, meant",
    [
        (["--max_model_len", "2k"], ["--max-model-len", "2k"]),
        (["--max_model_len=a_b"], ["--max-model-len=a_b"]),
        (["--no_enable_prefix_caching"], ["--no-enable-prefix-caching"]),
        (["-tp", "2"], ["-tp", "2"]),
        (["-cc.mode=3"], ['-cc={"mode": 3}']),
        (["-cc.cudagraph_capture_sizes", "[1]"], ['-cc={"cudagraph_capture_sizes": [1]}']),
        (["-1", "-1.5", "-x_y"], ["-1", "-1.5", "-x_y"]),
        (["a_b", "-"], ["a_b", "-"]),
        (["--", "--a_b"], ["--", "--a_b"]),
        (["--not a_flag: text"], ["--not a_flag: text"]),
        (["--hf_overrides.rope_theta", "1e6"], ['--hf-overrides={"rope_theta": 1000000.0}']),
        (["--a.b.c=true", "x"], ['--a={"b": {"c": true}}', "x"]),
        (["--a.regex", "[0-9]+"], ['--a={"regex": "[0-9]+"}']),
        (["--a.list", "[1, 2]"], ['--a={"list": [1, 2]}']),
        (["--a.multi-word_key", "text"], ['--a={"multi-word_key": "text"}']),
    ],
)
def test_one_spelling(words: list[str], meant: list[str]) -> None:
    assert normalized(words) == meant


def test_an_entry_without_value() -> None:
    with pytest.raises(UsageError, match=r"--a.b needs a value"):
        normalized(["--a.b"])


def test_merging_goes_down_and_the_second_wins() -> None:
    assert merged({"a": {"x": 1, "y": 1}, "b": 1}, {"a": {"y": 2}}) == {"a": {"x": 1, "y": 2}, "b": 1}
    assert merged(None, {"a": 1}) == {"a": 1}
    assert merged({"a": 1}, "no JSON") == "no JSON"
