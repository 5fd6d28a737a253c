"""Owns what the engine asks of a tokenizer (`Tokenizer`) and the choice between the two ways to load one (`load_tokenizer`).

The light way stands straight on the `tokenizers` library; Transformers, whose import alone costs a second, is taken where
the folder has no `tokenizer.json`, where its files ask for Python code of their own, or where the user says `tokenizer_mode="hf"`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from vllm.errors import ConfigError, ModelLoadError, near_names

if TYPE_CHECKING:
    import tokenizers

    from vllm.text.pieces import PieceTable

__all__ = ["TOKENIZER_MODES", "Tokenizer", "load_tokenizer"]

TOKENIZER_MODES = ("auto", "hf", "slow")
"""auto: the light way where it fits; hf: Transformers' choice; slow: Transformers' Python tokenizer."""


class Tokenizer(Protocol):
    """What the engine needs. Ids are plain ints; texts are str."""

    @property
    def eos_token_id(self) -> int | None: ...
    @property
    def bos_token_id(self) -> int | None: ...
    @property
    def all_special_ids(self) -> list[int]: ...
    @property
    def special_tokens_map(self) -> dict[str, Any]:
        """bos_token, eos_token, … as chat templates see them."""
        ...

    @property
    def chat_template(self) -> str | dict[str, str] | None: ...
    @property
    def backend_tokenizer(self) -> tokenizers.Tokenizer | None:
        """The `tokenizers` object behind it, None for tokenizers written in Python."""
        ...

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]: ...
    def encode_batch(self, texts: Sequence[str], *, add_special_tokens: bool = True) -> list[list[int]]: ...
    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool = False) -> str: ...
    def convert_ids_to_tokens(self, ids: Sequence[int]) -> list[str]: ...
    def get_vocab(self) -> dict[str, int]: ...
    def token_text(self, token_id: int) -> str:
        """What one token adds to a text, alone; U+FFFD where it is only a part of a character."""
        ...

    def pieces(self, skip_special_tokens: bool) -> PieceTable | None:
        """Bytes of each token, where decoding is no more than joining them; else None."""
        ...

    def __len__(self) -> int:
        """Tokens of the vocabulary, added ones included."""
        ...


def load_tokenizer(folder: str | Path, *, mode: str = "auto", trust_remote_code: bool = False) -> Tokenizer:
    """Load the tokenizer of a model folder. Raises ModelLoadError (files) or ConfigError (unknown mode)."""
    from vllm.text import fast_tokenizer, hf_tokenizer

    if mode not in TOKENIZER_MODES:
        raise ConfigError(
            f"tokenizer_mode={mode!r} is not known; it may be {', '.join(TOKENIZER_MODES)}.",
            candidates=near_names(mode, TOKENIZER_MODES),
        )
    path = Path(folder)
    if not path.is_dir():
        raise ModelLoadError(f"The tokenizer folder {folder} does not exist.", remedy="give --tokenizer a model folder")
    files = fast_tokenizer.read_files(path)
    if mode == "auto" and fast_tokenizer.fits(path, files):
        light = fast_tokenizer.load(path, files)
        if not light.wants_clean_up:
            return light
    return hf_tokenizer.load(path, slow=mode == "slow", trust_remote_code=trust_remote_code)
