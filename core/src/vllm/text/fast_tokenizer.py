"""Owns `FastTokenizer`: a model folder's `tokenizer.json` on the `tokenizers` library alone, answering what users ask of
a Transformers tokenizer. Special tokens of `tokenizer_config.json` are applied as Transformers 5 does; its switches `add_bos_token`
and `add_eos_token` are not read, as there: the post-processor of `tokenizer.json` says what stands before and behind a text.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vllm.errors import ModelLoadError
from vllm.text import pieces as piece_tables
from vllm.text.chat_template import read_chat_template
from vllm.text.user_tokenizer import UserTokenizer

if TYPE_CHECKING:
    import tokenizers

__all__ = ["FastTokenizer", "TokenizerFiles", "fits", "is_bpe", "load", "read_files"]

LONG_characters = 4096
"""Such texts are encoded as a batch of one: without the GIL, which other threads need, and without offsets."""

_LIGHT_CLASSES = frozenset(("PreTrained", "TokenizersBackend", "Llama", "Qwen2", "GPT2"))
"""Tokenizer classes (without "Tokenizer" and "Fast") for which `tokenizer.json` says everything."""
_NAMED_TOKENS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenizerFiles:
    """The small files beside `tokenizer.json`, as read."""

    config: dict[str, Any]
    special_tokens: dict[str, Any]
    """special_tokens_map.json of older checkpoints."""

    def named(self, name: str) -> str | dict[str, Any] | None:
        return self.config.get(name) or self.special_tokens.get(name)


def read_files(folder: Path) -> TokenizerFiles:
    """Read what is there; missing files give empty mappings. Raises ModelLoadError for a file that is no JSON object."""
    return TokenizerFiles(
        config=_read_json(folder / "tokenizer_config.json"),
        special_tokens=_read_json(folder / "special_tokens_map.json"),
    )


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelLoadError(f"{path} cannot be read: {error}", cause="a damaged or half-downloaded file") from error
    if not isinstance(content, dict):
        raise ModelLoadError(f"{path} must hold a JSON object, but holds a {type(content).__name__}.")
    return content


def fits(folder: Path, files: TokenizerFiles) -> bool:
    """Whether the light way gives the same ids and texts as Transformers for this folder."""
    if not (folder / "tokenizer.json").is_file() or "auto_map" in files.config:
        return False
    name = files.config.get("tokenizer_class") or "PreTrainedTokenizerFast"
    return name.removesuffix("Fast").removesuffix("Tokenizer") in _LIGHT_CLASSES


def load(folder: Path, files: TokenizerFiles) -> FastTokenizer:
    """Load the light way. Raises ModelLoadError where `tokenizer.json` is damaged."""
    import tokenizers

    path = folder / "tokenizer.json"
    try:
        backend = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception for every damaged file
        raise ModelLoadError(f"{path} cannot be read: {error}", cause="a damaged or half-downloaded file") from error
    backend.no_truncation()
    backend.no_padding()
    _add_tokens(backend, files)
    template = read_chat_template(folder, files.config)
    return FastTokenizer(backend, _special_tokens(files), chat_template=template, config=files.config)


def is_bpe(backend: tokenizers.Tokenizer) -> bool:
    """Whether the vocabulary's model is byte-pair encoding."""
    from tokenizers.models import BPE

    return isinstance(backend.model, BPE)


def _special_tokens(files: TokenizerFiles) -> dict[str, str]:
    """Name → token text, for the names that are given."""
    given = {name: files.named(name) for name in _NAMED_TOKENS}
    return {name: _content(token) for name, token in given.items() if token}


def _content(token: str | dict[str, Any]) -> str:
    return token if isinstance(token, str) else str(token["content"])


def _add_tokens(backend: tokenizers.Tokenizer, files: TokenizerFiles) -> None:
    """Add tokens that only the config knows, and mark the named ones as special."""
    known = {token.content for token in backend.get_added_tokens_decoder().values()}
    listed = sorted(files.config.get("added_tokens_decoder", {}).items(), key=lambda item: int(item[0]))
    backend.add_tokens([_added_token(token) for _, token in listed if token["content"] not in known])
    backend.add_special_tokens([_added_token(token) for token in _special_entries(files)])


def _special_entries(files: TokenizerFiles) -> list[str | dict[str, Any]]:
    extra: list[str | dict[str, Any]] = []
    for key in ("extra_special_tokens", "additional_special_tokens"):
        entries: Any = files.named(key) or []  # a list, or a dict by name
        extra += entries.values() if isinstance(entries, dict) else entries
    return [token for name in _NAMED_TOKENS if (token := files.named(name))] + extra


def _added_token(token: str | dict[str, Any]) -> tokenizers.AddedToken:
    import tokenizers

    if isinstance(token, str):
        return tokenizers.AddedToken(token, special=True, normalized=False)
    flags = {
        name: token[name] for name in ("single_word", "lstrip", "rstrip", "normalized", "special") if name in token
    }
    return tokenizers.AddedToken(token["content"], **flags)


class FastTokenizer(UserTokenizer):
    """One model's tokenizer. Thread-safe: nothing changes after loading but caches."""

    def __init__(
        self,
        backend: tokenizers.Tokenizer,
        special_tokens: dict[str, str],
        *,
        chat_template: str | dict[str, str] | None = None,
        config: dict[str, Any] | None = None,
    ) -> None:
        self._backend = backend
        self._special_tokens = special_tokens
        self.chat_template = chat_template
        self.init_kwargs = config or {}

    @property
    def backend_tokenizer(self) -> tokenizers.Tokenizer:
        return self._backend

    @property
    def wants_clean_up(self) -> bool:
        """The config asks to change decoded text around punctuation, which this class does not; BPE never wants it."""
        return bool(self.init_kwargs.get("clean_up_tokenization_spaces")) and not is_bpe(self._backend)

    @property
    def model_max_length(self) -> int | None:
        """Tokens that the tokenizer's config gives as the model's limit."""
        limit = self.init_kwargs.get("model_max_length")
        return None if limit is None else int(limit)

    @property
    def special_tokens_map(self) -> dict[str, Any]:
        return dict(self._special_tokens)

    @cached_property
    def all_special_ids(self) -> list[int]:
        added = self._backend.get_added_tokens_decoder()
        return sorted(token_id for token_id, token in added.items() if token.special)

    @property
    def vocab_size(self) -> int:
        """Tokens of the vocabulary without the added ones."""
        return self._backend.get_vocab_size(with_added_tokens=False)

    def __len__(self) -> int:
        return self._backend.get_vocab_size(with_added_tokens=True)

    def get_vocab(self) -> dict[str, int]:
        return self._backend.get_vocab(with_added_tokens=True)

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        if len(text) > LONG_characters:
            return self.encode_batch([text], add_special_tokens=add_special_tokens)[0]
        return self._backend.encode(text, add_special_tokens=add_special_tokens).ids

    def encode_batch(self, texts: Sequence[str], *, add_special_tokens: bool = True) -> list[list[int]]:
        batch = self._backend.encode_batch_fast(list(texts), add_special_tokens=add_special_tokens)
        return [encoding.ids for encoding in batch]

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool = False) -> str:
        ids = [token_ids] if isinstance(token_ids, int) else list(token_ids)
        return self._backend.decode(ids, skip_special_tokens=skip_special_tokens)

    def convert_tokens_to_ids(self, tokens: str | Sequence[str]) -> Any:
        if isinstance(tokens, str):
            return self._token_id(tokens)
        return [self._token_id(token) for token in tokens]

    def get_vocab_id(self, token: str) -> int | None:
        return self._backend.token_to_id(token)

    def _token_id(self, token: str) -> int | None:
        token_id = self._backend.token_to_id(token)
        return self.unk_token_id if token_id is None else token_id

    def convert_ids_to_tokens(self, ids: Any) -> Any:
        if isinstance(ids, int):
            return self._backend.id_to_token(ids)
        return [self._backend.id_to_token(int(token_id)) or "" for token_id in ids]

    def token_text(self, token_id: int) -> str:
        table = self.pieces(skip_special_tokens=False)
        return self.decode([token_id]) if table is None else table[token_id].decode("utf-8", "replace")

    def pieces(self, skip_special_tokens: bool) -> piece_tables.PieceTable | None:
        return self._shown_pieces if skip_special_tokens else self._all_pieces

    @cached_property
    def _all_pieces(self) -> piece_tables.PieceTable | None:
        return piece_tables.piece_table(self._backend)

    @cached_property
    def _shown_pieces(self) -> piece_tables.PieceTable | None:
        return None if self._all_pieces is None else self._all_pieces.without(self.all_special_ids)
