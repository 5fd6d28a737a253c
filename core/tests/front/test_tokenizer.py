"""The light tokenizer equals Transformers' on ids, texts and special tokens; bad folders are refused with their reason."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.tests.front.conftest import TINY
from vllm.errors import ConfigError, ModelLoadError
from vllm.text.fast_tokenizer import FastTokenizer
from vllm.text.hf_tokenizer import HfTokenizer
from vllm.text.tokenizer import load_tokenizer

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40) | st.sampled_from(
    ["", " ", "Count: 17 18 19", "<s>x</s>", "a <|im_end|> b", "  two  spaces ", "\n\n\t", "👩‍👩‍👧"]
)
KINDS = ("tiny", "byte_level", "sentencepiece", "unigram", "wordpiece")


def changed(folder: Path, tmp_path: Path, config: dict[str, Any]) -> Path:
    """A copy of a model folder with other entries in its tokenizer_config.json."""
    copy = tmp_path / "model"
    shutil.copytree(folder, copy)
    path = copy / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | config), encoding="utf-8")
    return copy


@pytest.mark.parametrize("kind", KINDS)
def test_ids_and_texts_equal_transformers(folders: dict[str, Path], kind: str) -> None:
    light, full = load_tokenizer(folders[kind]), load_tokenizer(folders[kind], mode="hf")
    assert isinstance(light, FastTokenizer) and isinstance(full, HfTokenizer)

    @settings(max_examples=100, deadline=None)
    @given(text=TEXTS, special=st.booleans(), skip=st.booleans())
    def check(text: str, special: bool, skip: bool) -> None:
        ids = full.encode(text, add_special_tokens=special)
        assert light.encode(text, add_special_tokens=special) == ids
        assert light.encode_batch([text, "x"], add_special_tokens=special)[0] == ids
        assert light.decode(ids, skip_special_tokens=skip) == full.decode(ids, skip_special_tokens=skip)
        assert light.convert_ids_to_tokens(ids) == full.convert_ids_to_tokens(ids)

    check()


@pytest.mark.parametrize("kind", KINDS)
def test_what_users_ask_equals_transformers(folders: dict[str, Path], kind: str) -> None:
    light, full = load_tokenizer(folders[kind]), load_tokenizer(folders[kind], mode="hf")
    for name in (
        "bos_token_id",
        "eos_token_id",
        "pad_token_id",
        "unk_token_id",
        "bos_token",
        "eos_token",
        "vocab_size",
    ):
        assert getattr(light, name) == getattr(full, name) == getattr(full.inner, name), name
    assert len(light) == len(full) and light.get_vocab() == full.get_vocab()
    assert set(full.all_special_ids) <= set(light.all_special_ids)
    assert light("a b")["input_ids"] == list(full.inner("a b")["input_ids"])
    assert light(["a b", "c"]).input_ids == [list(ids) for ids in full.inner(["a b", "c"])["input_ids"]]
    assert light.tokenize("a b") == full.inner.tokenize("a b")
    assert light.batch_decode([[5, 6], [7]]) == full.inner.batch_decode([[5, 6], [7]])
    assert light.convert_tokens_to_ids(["a", "b"]) == full.inner.convert_tokens_to_ids(["a", "b"])


@pytest.mark.parametrize(
    "config",
    [
        {"add_bos_token": True, "add_eos_token": True},
        {"add_bos_token": False},
        {"add_bos_token": True, "tokenizer_class": "PreTrainedTokenizerFast"},
        {"extra_special_tokens": ["<|tool|>", "fox"]},
        {"pad_token": {"__type": "AddedToken", "content": "<|pad|>", "lstrip": True, "special": True}},
        {"added_tokens_decoder": {"400": {"content": "<|new|>", "special": True, "normalized": False}}},
    ],
)
def test_switches_of_the_config_equal_transformers(
    folders: dict[str, Path], tmp_path: Path, config: dict[str, Any]
) -> None:
    folder = changed(folders["byte_level"], tmp_path, config)
    light, full = load_tokenizer(folder), load_tokenizer(folder, mode="hf")
    assert isinstance(light, FastTokenizer)
    text = "the fox <|tool|> <|new|>  <|pad|></s>"
    ids = full.encode(text)
    assert light.encode(text) == ids and len(light) == len(full)
    assert light.decode(ids, skip_special_tokens=True) == full.decode(ids, skip_special_tokens=True)


@pytest.mark.parametrize(
    "config", [{"tokenizer_class": "BertTokenizer"}, {"auto_map": {"AutoTokenizer": ["x.Y", None]}}]
)
def test_a_class_with_rules_of_its_own_is_left_to_transformers(
    folders: dict[str, Path], tmp_path: Path, config: dict[str, Any]
) -> None:
    from vllm.text.fast_tokenizer import fits, read_files

    folder = changed(folders["wordpiece"], tmp_path, config)
    assert not fits(folder, read_files(folder))
    assert fits(folders["wordpiece"], read_files(folders["wordpiece"]))


@pytest.mark.parametrize("kind,light", [("byte_level", True), ("wordpiece", False)])
def test_clean_up_of_spaces_is_left_to_transformers(
    folders: dict[str, Path], tmp_path: Path, kind: str, light: bool
) -> None:
    tokenizer = load_tokenizer(changed(folders[kind], tmp_path, {"clean_up_tokenization_spaces": True}))
    assert isinstance(tokenizer, FastTokenizer) == light


def test_loading_does_not_import_transformers() -> None:
    code = (
        "import sys; from vllm.text.tokenizer import load_tokenizer; t = load_tokenizer(sys.argv[1]);"
        "t.apply_chat_template([{'role': 'user', 'content': 'hi'}]);"
        "assert not {'torch', 'transformers', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(TINY)], check=True)


def test_token_text_is_what_one_token_adds(folders: dict[str, Path]) -> None:
    tokenizer = load_tokenizer(folders["sentencepiece"])
    assert tokenizer.token_text(tokenizer.get_vocab()["▁"]) == " "
    assert tokenizer.token_text(tokenizer.get_vocab()["<0xE2>"]) == "\ufffd"


def test_unknown_mode_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"auto, hf, slow[\s\S]*Did you mean: slow"):
        load_tokenizer(TINY, mode="slwo")


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="does not exist"):
        load_tokenizer(tmp_path / "nothing")


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
def test_a_damaged_file_is_named(folders: dict[str, Path], tmp_path: Path, name: str) -> None:
    folder = changed(folders["byte_level"], tmp_path, {})
    (folder / name).write_text('{"version": "1.0", "trunc', encoding="utf-8")
    with pytest.raises(ModelLoadError, match=name):
        load_tokenizer(folder)


def test_a_folder_without_tokenizer_files(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="No tokenizer can be loaded"):
        load_tokenizer(tmp_path)
