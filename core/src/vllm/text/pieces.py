"""Owns `PieceTable`: which bytes each token id adds to a text, for tokenizers whose decoder only joins its tokens.

Byte-level decoders (GPT-2, Llama 3, Qwen) and sentencepiece-like ones (Llama 2, Mistral, Gemma) are such; then decoding is
a table look-up and UTF-8 becomes a matter of bytes. `piece_table` gives None for every other decoder (WordPiece, CTC, …).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import tokenizers

__all__ = ["PieceTable", "piece_table"]


class PieceTable(dict[int, bytes]):
    """Token id → bytes, filled at first use. Ids without a token give no bytes."""

    def __init__(self, to_bytes: Callable[[int], bytes], *, strips_leading_spaces: int) -> None:
        super().__init__()
        self._to_bytes = to_bytes
        self.strips_leading_spaces = strips_leading_spaces
        """Most spaces that the decoder removes at the very start of a text."""

    def __missing__(self, token_id: int) -> bytes:
        piece = self._to_bytes(token_id)
        self[token_id] = piece
        return piece

    def without(self, token_ids: Iterable[int]) -> PieceTable:
        """A table in which `token_ids` (the special tokens) give no bytes."""
        table = PieceTable(self.__getitem__, strips_leading_spaces=self.strips_leading_spaces)
        table.update((token_id, b"") for token_id in token_ids)
        return table


def piece_table(backend: tokenizers.Tokenizer) -> PieceTable | None:
    """The table of a tokenizer, or None if its decoder does more than join tokens."""
    if backend.decoder is None:
        return None
    parts = _flatten(json.loads(backend.decoder.__getstate__()))
    if [part["type"] for part in parts] == ["ByteLevel"]:
        return _table(backend, _byte_level_piece, strips_leading_spaces=0)
    return _spaced_table(backend, parts)


def _flatten(decoder: dict[str, Any]) -> list[dict[str, Any]]:
    if decoder["type"] != "Sequence":
        return [decoder]
    return [part for inner in decoder["decoders"] for part in _flatten(inner)]


def _table(
    backend: tokenizers.Tokenizer, to_bytes: Callable[[str], bytes], *, strips_leading_spaces: int
) -> PieceTable:
    def piece(token_id: int) -> bytes:
        token = backend.id_to_token(token_id)
        return b"" if token is None else to_bytes(token)

    return PieceTable(piece, strips_leading_spaces=strips_leading_spaces)


@lru_cache(maxsize=1)
def _byte_of_char() -> dict[str, int]:
    """GPT-2's printable stand-in of each byte: printable Latin-1 stands for itself, the others for 256, 257, …"""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    stand_ins = {chr(byte): byte for byte in printable}
    return stand_ins | {chr(256 + i): byte for i, byte in enumerate(others)}


def _byte_level_piece(token: str) -> bytes:
    """A token with any other character (an added token) stands for itself."""
    byte_of_char = _byte_of_char()
    if all(char in byte_of_char for char in token):
        return bytes(byte_of_char[char] for char in token)
    return token.encode()


def _spaced_table(backend: tokenizers.Tokenizer, parts: list[dict[str, Any]]) -> PieceTable | None:
    """The table of a decoder made of replacements, byte fallback and a strip at the start, or None for any other."""
    replacements: list[tuple[str, str]] = []
    byte_fallback, fused, strips = False, False, 0
    for part in parts:
        kind = part["type"]
        if kind == "Replace" and "String" in part["pattern"] and not fused:
            replacements.append((part["pattern"]["String"], part["content"]))
        elif kind == "Metaspace" and not fused:
            replacements.append((part["replacement"], " "))
            strips = 0 if part["prepend_scheme"] == "never" else 1
        elif kind == "ByteFallback" and not fused:
            byte_fallback = True
        elif kind == "Fuse":
            fused = True
        elif kind == "Strip" and fused and part["content"] == " " and not part["stop"]:
            strips = part["start"]
        else:
            return None
    return _table(backend, _spaced_piece(replacements, byte_fallback), strips_leading_spaces=strips)


def _spaced_piece(replacements: list[tuple[str, str]], byte_fallback: bool) -> Callable[[str], bytes]:
    def piece(token: str) -> bytes:
        for old, new in replacements:
            token = token.replace(old, new)
        if byte_fallback and len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
            return bytes([int(token[3:5], 16)])
        return token.encode()

    return piece
