"""Flags, YAML files and their precedence, on the engine's own options."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from vllm.config.engine_args import EngineArgs
from vllm.entrypoints.cli.argv import normalized
from vllm.entrypoints.cli.errors import UsageError
from vllm.entrypoints.cli.flags import add_command, read_sets
from vllm.entrypoints.cli.sampling_options import SamplingOptions
from vllm.sampling_params import RequestOutputKind


@pytest.fixture
def parser() -> argparse.ArgumentParser:
    subparsers = argparse.ArgumentParser(prog="vllm").add_subparsers()
    return add_command(subparsers, "x", "do it", SamplingOptions, EngineArgs, positional="PROMPT")


def _engine(parser: argparse.ArgumentParser, *words: str) -> EngineArgs:
    _, engine = read_sets(parser.parse_args(normalized(words)), SamplingOptions, EngineArgs)
    assert isinstance(engine, EngineArgs)
    return engine


def _sampling(parser: argparse.ArgumentParser, *words: str) -> SamplingOptions:
    sampling, _ = read_sets(parser.parse_args(normalized(words)), SamplingOptions, EngineArgs)
    assert isinstance(sampling, SamplingOptions)
    return sampling


def test_nothing_given_is_the_defaults(parser: argparse.ArgumentParser) -> None:
    assert _engine(parser) == EngineArgs()


def test_single_entries_and_whole_objects_are_one(parser: argparse.ArgumentParser) -> None:
    engine = _engine(parser, "--hf_overrides", '{"a": {"x": 1}}', "--hf-overrides.a.y", "2", "--hf-overrides.b=text")
    assert engine.hf_overrides == {"a": {"x": 1, "y": 2}, "b": "text"}


def test_an_object_that_is_no_json_is_refused_by_the_option(parser: argparse.ArgumentParser) -> None:
    with pytest.raises(UsageError, match=r"hf_overrides \(--hf-overrides\) is '\{a', but it must be a JSON object"):
        _engine(parser, "--hf-overrides", "{a")


def test_the_command_line_beats_the_file_and_the_file_the_default(
    parser: argparse.ArgumentParser, tmp_path: Path
) -> None:
    file = tmp_path / "engine.yaml"
    file.write_text(
        "max-model-len: 2k\nmax_num_seqs: 8\nenable-prefix-caching: false\ndevice-memory-utilization: 0.5\n"
        "hf-overrides: {a: {b: 1}}\nserved-model-name: [x, y]\ntemperature: 0.5\nenable-lora: false\n"
    )
    engine = _engine(parser, "--max-num-seqs", "9", "--config", str(file))
    assert (engine.max_model_len, engine.max_num_seqs, engine.enable_prefix_caching) == (2000, 9, False)
    assert (engine.gpu_memory_utilization, engine.hf_overrides) == (0.5, {"a": {"b": 1}})
    assert engine.served_model_name == ("x", "y")
    assert _sampling(parser, "--config", str(file)).temperature == 0.5


@pytest.mark.parametrize(
    "content, words",
    [
        ("max-modl-len: 3", r"engine.yaml has no option max-modl-len.\n  Did you mean: max_model_len"),
        ("max-num-seqs: none", r"--max-num-seqs\) is 'none', but it must be a whole number"),
        ("enable-lora: true", r"enable-lora \(in .*engine.yaml\) belongs to LoRA adapters"),
        ("- a", "holds a list, but options as `max-model-len: 2k` are needed"),
        ("a: [", "is no valid YAML"),
    ],
)
def test_bad_files(parser: argparse.ArgumentParser, tmp_path: Path, content: str, words: str) -> None:
    file = tmp_path / "engine.yaml"
    file.write_text(content)
    with pytest.raises(UsageError, match=words):
        _engine(parser, "--config", str(file))


def test_a_missing_file(parser: argparse.ArgumentParser, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        _engine(parser, "--config", str(tmp_path / "nowhere.yaml"))


def test_an_empty_file_says_nothing(parser: argparse.ArgumentParser, tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").touch()
    assert _engine(parser, "--config", str(tmp_path / "empty.yaml")) == EngineArgs()


def test_sampling_flags_become_sampling_params(parser: argparse.ArgumentParser) -> None:
    ends = ["--stop", ".", "--stop", "END", "--stop-token-ids", "7", "8"]
    words = ["--max-tokens", "3", "--top-k", "5", *ends, "--structured-outputs.regex", "[0-9]+"]
    params = _sampling(parser, *words).to_params(RequestOutputKind.DELTA)
    assert (params.max_tokens, params.temperature, params.top_k) == (3, 0.0, 5)
    assert (params.stop, params.stop_token_ids) == ([".", "END"], [7, 8])
    assert params.structured_outputs is not None
    assert params.structured_outputs.regex == "[0-9]+"
    assert params.output_kind is RequestOutputKind.DELTA


def test_the_default_is_greedy_and_otherwise_vllm_s(parser: argparse.ArgumentParser) -> None:
    params = _sampling(parser).to_params(RequestOutputKind.DELTA)
    assert params.is_greedy
    assert (params.max_tokens, params.top_p, params.n, params.ignore_eos) == (16, 1.0, 1, False)


def test_an_unknown_structure(parser: argparse.ArgumentParser) -> None:
    with pytest.raises(UsageError, match=r"has no regx; it has json, .*\n  Did you mean: regex"):
        _sampling(parser, "--structured-outputs.regx", "a").to_params(RequestOutputKind.DELTA)
