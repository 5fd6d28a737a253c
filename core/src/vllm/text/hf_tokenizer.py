"""Owns `HfTokenizer`: a tokenizer that Transformers loaded, in the shape that the engine asks for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vllm.errors import ModelLoadError
from vllm.text import pieces as piece_tables
from vllm.text.fast_tokenizer import is_bpe
from vllm.text.user_tokenizer import UserTokenizer

if TYPE_CHECKING:
    import tokenizers

__all__ = ["HfTokenizer", "load"]


def load(folder: Path, *, slow: bool, trust_remote_code: bool) -> HfTokenizer:
    """Load with Transformers' AutoTokenizer. Raises ModelLoadError with its words where it cannot."""
    from transformers import AutoTokenizer

    try:
        inner = AutoTokenizer.from_pretrained(
            str(folder), use_fast=not slow, trust_remote_code=trust_remote_code, local_files_only=True
        )
    except Exception as error:  # it raises whatever the folder's files provoke
        remedy = "pass --trust-remote-code if you trust this folder's Python files" if _asks_for_trust(error) else None
        raise ModelLoadError(
            f"No tokenizer can be loaded from {folder}: {type(error).__name__}: {error}",
            cause="tokenizer files are missing, damaged, or of a kind that Transformers does not know",
            remedy=remedy,
        ) from error
    return HfTokenizer(inner)


def _asks_for_trust(error: Exception) -> bool:
    return "trust_remote_code" in str(error)


class HfTokenizer(UserTokenizer):
    """Wraps a Transformers tokenizer; `inner` is the original."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.chat_template = inner.chat_template
        self.is_fast = bool(inner.is_fast)

    @property
    def backend_tokenizer(self) -> tokenizers.Tokenizer | None:
        return self.inner.backend_tokenizer if self.is_fast else None

    @property
    def special_tokens_map(self) -> dict[str, Any]:
        named = ((name, value) for name, value in self.inner.special_tokens_map.items() if isinstance(value, str))
        return dict(named)

    @cached_property
    def all_special_ids(self) -> list[int]:
        return sorted(set(self.inner.all_special_ids))

    @property
    def vocab_size(self) -> int:
        return int(self.inner.vocab_size)

    def __len__(self) -> int:
        return len(self.inner)

    def get_vocab(self) -> dict[str, int]:
        return dict(self.inner.get_vocab())

    def get_vocab_id(self, token: str) -> int | None:
        return self.get_vocab().get(token)

    def _named_id(self, name: str) -> int | None:
        token_id = getattr(self.inner, f"{name}_id")
        return None if token_id is None else int(token_id)

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        return list(self.inner.encode(text, add_special_tokens=add_special_tokens))

    def encode_batch(self, texts: Sequence[str], *, add_special_tokens: bool = True) -> list[list[int]]:
        batch = self.inner(list(texts), add_special_tokens=add_special_tokens, return_attention_mask=False)
        return [list(ids) for ids in batch["input_ids"]]

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool = False) -> str:
        ids = [token_ids] if isinstance(token_ids, int) else list(token_ids)
        return str(self.inner.decode(ids, skip_special_tokens=skip_special_tokens))

    def convert_tokens_to_ids(self, tokens: Any) -> Any:
        return self.inner.convert_tokens_to_ids(tokens)

    def convert_ids_to_tokens(self, ids: Any) -> Any:
        return self.inner.convert_ids_to_tokens(ids)

    def token_text(self, token_id: int) -> str:
        table = self.pieces(skip_special_tokens=False)
        return self.decode([token_id]) if table is None else table[token_id].decode("utf-8", "replace")

    def pieces(self, skip_special_tokens: bool) -> piece_tables.PieceTable | None:
        return self._shown_pieces if skip_special_tokens else self._all_pieces

    @cached_property
    def _all_pieces(self) -> piece_tables.PieceTable | None:
        backend = self.backend_tokenizer
        if backend is None or (self.inner.clean_up_tokenization_spaces and not is_bpe(backend)):
            return None
        return piece_tables.piece_table(backend)

    @cached_property
    def _shown_pieces(self) -> piece_tables.PieceTable | None:
        return None if self._all_pieces is None else self._all_pieces.without(self.all_special_ids)
