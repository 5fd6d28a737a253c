"""The definitions agree with themselves, with vLLM's names, with flags and help; wrong values fail with the option's names."""

from __future__ import annotations

import argparse
from dataclasses import fields
from typing import Any

import pytest

from vllm.config.absent_options import ABSENT, refuse_absent
from vllm.config.engine_args import EngineArgs
from vllm.config.options import options_of
from vllm.entrypoints.cli.flags import add_command, read_sets
from vllm.entrypoints.cli.help_text import render_help
from vllm.errors import ConfigError

OPTIONS = options_of(EngineArgs)


def test_every_field_is_an_option() -> None:
    assert [each.name for each in fields(EngineArgs)] == list(OPTIONS)


def test_every_default_is_a_value_that_the_option_takes() -> None:
    for one in OPTIONS.values():
        assert one.read(one.default) == one.default, one.name


def test_help_is_one_line_of_text_for_each() -> None:
    for one in OPTIONS.values():
        assert one.help.endswith("."), one.name
        assert "\n" not in one.help


def test_names_and_flags_are_unique() -> None:
    flags = [flag for one in OPTIONS.values() for flag in one.flags]
    assert len(flags) == len(set(flags))


def test_an_option_is_not_absent_too() -> None:
    assert not set(ABSENT) & {spelling for one in OPTIONS.values() for spelling in (one.name, *one.aliases)}


def _parser() -> argparse.ArgumentParser:
    return add_command(argparse.ArgumentParser(prog="vllm").add_subparsers(), "x", "do it", EngineArgs)


def test_flags_and_options_agree() -> None:
    parser = _parser()
    destinations = {action.dest: action.option_strings for action in parser._actions}
    assert set(destinations) == {*OPTIONS, "help", "config"}
    for one in OPTIONS.values():
        assert {flag for action in parser._actions if action.dest == one.name for flag in action.option_strings} >= set(
            one.flags
        )


def test_help_all_shows_every_flag_once() -> None:
    text = render_help("vllm x", "Do it.", list(OPTIONS.values()), "all")
    for one in OPTIONS.values():
        shown = one.flag if one.kind.arity != "switch" else f"--[no-]{one.flag[2:]}"
        lines = [line for line in text.splitlines() if line.strip().replace(",", " ").split()[:1] == [shown]]
        assert len(lines) == 1, shown


def test_short_help_shows_the_common_ones_and_how_to_see_the_rest() -> None:
    text = render_help("vllm x", "Do it.", list(OPTIONS.values()), "")
    assert "--max-model-len" in text
    assert "--watermark" not in text
    hidden = sum(not one.is_common for one in OPTIONS.values())
    assert f"{hidden} more options" in text


@pytest.mark.parametrize("topic", ["CacheConfig", "cacheconfig", "cache"])
def test_help_of_a_group(topic: str) -> None:
    text = render_help("vllm x", "Do it.", list(OPTIONS.values()), topic)
    assert "--block-size" in text
    assert "--dtype" not in text


def test_help_of_a_keyword() -> None:
    text = render_help("vllm x", "Do it.", list(OPTIONS.values()), "max-num-seqs")
    assert "--max-num-seqs" in text
    assert "--max-num-batched-tokens" not in text


@pytest.mark.parametrize(
    "words, name, meant",
    [
        (["--max-model-len", "2k"], "max_model_len", 2000),
        (["--max-model-len", "-1"], "max_model_len", "auto"),
        (["--max-model-len", "auto"], "max_model_len", "auto"),
        (["--device-memory-utilization", "0.5"], "gpu_memory_utilization", 0.5),
        (["--no-enable-prefix-caching"], "enable_prefix_caching", False),
        (["--enable-prefix-caching"], "enable_prefix_caching", True),
        (["-tp", "2"], "tensor_parallel_size", 2),
        (["-tp=2"], "tensor_parallel_size", 2),
        (["--dtype=half"], "dtype", "float16"),
        (["--served-model-name", "a", "b"], "served_model_name", ("a", "b")),
        (["--hf-overrides", '{"a": 1}', "--hf-overrides", '{"b": 2}'], "hf_overrides", {"a": 1, "b": 2}),
        (["--cudagraph-capture-sizes", "4", "2"], "cudagraph_capture_sizes", (4, 2)),
        (["--kv-cache-memory-bytes", "1G"], "kv_cache_memory_bytes", 2**30),
    ],
)
def test_flags_mean_what_keywords_mean(words: list[str], name: str, meant: Any) -> None:
    (from_flags,) = read_sets(_parser().parse_args(words), EngineArgs)
    assert getattr(from_flags, name) == meant
    given = meant if name != "gpu_memory_utilization" else 0.5
    assert from_flags == EngineArgs.from_kwargs({name: given})


def test_a_dtype_may_be_torchs_own_and_no_seed_is_seed_0() -> None:
    class Named:
        def __str__(self) -> str:
            return "torch.float32"

    args = EngineArgs.from_kwargs({"dtype": Named(), "seed": None})
    assert (args.dtype, args.seed) == ("float32", 0)
    with pytest.raises(ConfigError, match=r"dtype .* is 'torch.int8', but it must be one of auto"):
        EngineArgs.from_kwargs({"dtype": "torch.int8"})


def test_the_alias_is_a_keyword_too() -> None:
    assert EngineArgs.from_kwargs({"device_memory_utilization": "0.25"}).gpu_memory_utilization == 0.25


@pytest.mark.parametrize(
    "given, words",
    [
        ({"max_num_seqs": 0}, r"max_num_seqs \(--max-num-seqs\) is 0, but it must be a whole number >= 1"),
        ({"dtype": "bfloat61"}, r"dtype .* one of auto, .*\n  Did you mean: bfloat16"),
        ({"gpu_memory_utilization": 1.5}, "a number > 0 and <= 1"),
        ({"max_model_len": "long"}, '2K = 2048.*or "auto"'),
        ({"hf_overrides": "{"}, "a JSON object or a dictionary"),
        ({"scheduler_cls": "Mine"}, "a dotted path such as package.module.Name"),
        ({"dtype": None}, "is None, but it must be"),
        ({"max_num_seq": 3}, r"The engine has no option max_num_seq.\n  Did you mean: max_num_seqs"),
        ({"enable_lora": True}, "enable_lora belongs to LoRA adapters, which this release does not have"),
        ({"swap_space": 4}, "recomputed, nothing is swapped"),
    ],
)
def test_wrong_options_fail_with_their_names(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        EngineArgs.from_kwargs(given)


def test_asking_an_absent_option_for_nothing_is_granted() -> None:
    assert EngineArgs.from_kwargs({"enable_lora": False, "speculative_config": None, "seed": 3}) == EngineArgs(seed=3)
    assert refuse_absent("no_option_at_all", 3) is False
