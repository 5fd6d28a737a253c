"""The environment variables: read, refused with words, documented, and told to the vendor's software."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vllm.errors import ConfigError
from vllm_spyre import settings as settings_module
from vllm_spyre.settings import TABLE, Settings, prepare_vendor_environment, warn_of_variables

README = Path(__file__).parents[1] / "README.md"


def test_without_variables_it_is_the_card() -> None:
    settings = Settings.read({})
    assert (settings.backend, settings.chunk_tokens, settings.max_context_tokens) == ("sendnn", 512, 32768)
    assert (settings.max_batch_context_tokens, settings.most_rows, settings.interleave_steps) == (131072, 32, 1)
    assert settings.groups_decodes


def test_lists_are_sorted_and_give_the_largest_batch() -> None:
    settings = Settings.read({"VLLM_SPYRE_WARMUP_BATCH_SIZES": "8, 1,4,4", "VLLM_SPYRE_WARMUP_CONTEXT_LENS": "512,128"})
    assert (settings.batch_sizes, settings.most_rows, settings.context_lens) == ((1, 4, 8), 8, (128, 512))


@pytest.mark.parametrize(
    ("name", "text", "lesson"),
    [
        ("VLLM_SPYRE_DYNAMO_BACKEND", "sendn", "one of sendnn, inductor, eager, checked.*\n.*\n.*Did you mean: sendnn"),
        ("VLLM_DT_CHUNK_LEN", "500", "a multiple of 64 tokens, the size of a cache block"),
        ("VLLM_DT_MAX_BATCH_SIZE", "0", "a whole number of at least 1.*\n.*unset it"),
        ("VLLM_SPYRE_WARMUP_BATCH_SIZES", "1,two", "at least 1"),
        ("VLLM_SPYRE_GROUP_DECODES", "yes", "0 or 1"),
        ("VLLM_SPYRE_CP_INTERLEAVE_STEPS", "-1", "at least 0"),
    ],
)
def test_a_value_that_means_nothing(name: str, text: str, lesson: str) -> None:
    with pytest.raises(ConfigError, match=lesson) as refused:
        Settings.read({name: text})
    assert f"{name} is {text!r}" in str(refused.value)


def test_a_budget_that_holds_no_request() -> None:
    with pytest.raises(ConfigError, match="1024, less than VLLM_DT_MAX_CONTEXT_LEN 2048"):
        Settings.read({"VLLM_DT_MAX_BATCH_TKV_LIMIT": "1024", "VLLM_DT_MAX_CONTEXT_LEN": "2048"})


def test_variables_that_do_nothing_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    strangers = {"VLLM_SPYRE_USE_CB": "1", "VLLM_SPYRE_DYNAMO_BACKENT": "eager", "SENDNN_INFERENCE_NUM_CPUS": "4"}
    warn_of_variables(strangers)
    said = capsys.readouterr().err
    assert "VLLM_SPYRE_USE_CB has no effect: continuous batching is the only mode" in said
    assert "VLLM_SPYRE_DYNAMO_BACKENT is unknown" in said
    assert "Near: VLLM_SPYRE_DYNAMO_BACKEND" in said
    assert "reads VLLM_SPYRE_* (such as VLLM_SPYRE_NUM_CPUS)" in said


def test_the_vendor_is_told_the_engines_limits_and_a_next_engine_reads_the_users(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = ("VLLM_DT_MAX_BATCH_SIZE", "VLLM_DT_MAX_CONTEXT_LEN", "VLLM_DT_MAX_BATCH_TKV_LIMIT", "COMPILATION_MODE")
    for name in names:  # monkeypatch puts back what it has seen
        monkeypatch.setenv(name, "x")
        monkeypatch.delenv(name)
    monkeypatch.setenv("VLLM_DT_MAX_BATCH_SIZE", "1")
    monkeypatch.setenv("FLEX_DEVICE", "COMPILE")
    monkeypatch.setenv("FLEX_COMPUTE", "x")
    monkeypatch.setenv("FLEX_OVERWRITE_NMB_FRAME", "x")
    monkeypatch.setattr(settings_module, "_replaced", {})
    before = Settings.read()
    prepare_vendor_environment(before, max_num_seqs=1, max_model_len=1000)
    assert [os.environ[name] for name in names] == ["2", "1024", "131072", "offline_decoder"]
    assert os.environ["FLEX_DEVICE"] == "COMPILE"
    assert Settings.read() == before
    assert before.max_batch_size == 1


def test_the_readme_has_the_same_table() -> None:
    text = README.read_text(encoding="utf-8")
    for variable in TABLE:
        row = f"| `{variable.name}` | {variable.default or '–'} | {variable.doc} |"
        assert row in text
