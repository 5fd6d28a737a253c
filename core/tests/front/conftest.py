"""Tokenizers of the kinds that models come with: the embedded one, and three small ones trained here in a moment."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, processors, trainers

from vllm.text.tokenizer import Tokenizer, load_tokenizer

CORPUS = [
    "The quick brown fox jumps over the lazy dog. It's 12:30, isn't it?",
    "def add(a, b):\n    return a + b\n",
    '{"name": "Ada", "age": 36, "tags": ["x", "y"]}',
    "Grüße aus Köln; ça va, señor? Привет, мир. 你好,世界",
]
TINY = Path(str(files("vllm") / "assets" / "tiny"))


@pytest.fixture(scope="session")
def tiny() -> Tokenizer:
    return load_tokenizer(TINY)


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Kind → model folder: byte_level (as Llama 3, Qwen), sentencepiece (as Llama 2), unigram (as T5), wordpiece (as BERT)."""
    root = tmp_path_factory.mktemp("tokenizers")
    made = {
        "byte_level": _byte_level(),
        "sentencepiece": _sentencepiece(),
        "unigram": _unigram(),
        "wordpiece": _wordpiece(),
    }
    named = {"bos_token": "<s>", "eos_token": "</s>"}
    return {"tiny": TINY} | {kind: _write(root / kind, text, named) for kind, text in made.items()}


def _write(folder: Path, tokenizer_json: str, config: dict[str, Any]) -> Path:
    folder.mkdir()
    (folder / "tokenizer.json").write_text(tokenizer_json, encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(
        json.dumps(config | {"tokenizer_class": "PreTrainedTokenizerFast"}), encoding="utf-8"
    )
    return folder


def _bos(tokenizer: tokenizers.Tokenizer) -> processors.TemplateProcessing:
    return processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))])


def _byte_level() -> str:
    tokenizer = tokenizers.Tokenizer(models.BPE())
    digits = Regex(r"\p{N}{1,3}| ?\p{L}+| ?[^\s\p{L}\p{N}]+|\s+")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(digits, "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<s>", "</s>", "<|eot|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = _bos(tokenizer)
    return str(tokenizer.to_str())


def _sentencepiece() -> str:
    tokenizer = tokenizers.Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    specials, fallback = ["<unk>", "<s>", "</s>"], [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=specials + fallback, show_progress=False)
    tokenizer.train_from_iterator([text.replace("世", "") for text in CORPUS], trainer)
    tokenizer.post_processor = _bos(tokenizer)
    content = json.loads(tokenizer.to_str())
    content["added_tokens"] = [token for token in content["added_tokens"] if token["content"] in specials]
    return json.dumps(content)


def _unigram() -> str:
    tokenizer = tokenizers.Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=150, special_tokens=["<unk>", "<s>", "</s>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = _bos(tokenizer)
    return str(tokenizer.to_str())


def _wordpiece() -> str:
    tokenizer = tokenizers.Tokenizer(models.WordPiece(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.WordPiece(cleanup=False)
    trainer = trainers.WordPieceTrainer(
        vocab_size=200, special_tokens=["<unk>", "<s>", "</s>", "<|sep|>"], show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return str(tokenizer.to_str())
