"""Owns incremental detokenisation: token ids in, text out, never a broken UTF-8 character in between.

The text of a request is what its output adds to its prompt. Both detokenisers here give, over all `append`s and the final
`flush`, exactly the text that decoding everything at once gives; an incomplete character is shown as U+FFFD by `flush` alone.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from vllm.text.pieces import PieceTable
    from vllm.text.tokenizer import Tokenizer

__all__ = ["Detokenizer", "PieceDetokenizer", "WindowDetokenizer", "make_detokenizer"]

PROMPT_CONTEXT_TOKENS = 6
"""Prompt tokens that give the output its context: enough for an unfinished character and for a leading space."""
BROKEN = "\ufffd"


class Detokenizer(Protocol):
    """Turns one request's output tokens into text."""

    def append(self, token_ids: Sequence[int]) -> str:
        """Take the next tokens; give the text that became certain."""
        ...

    def flush(self) -> str:
        """Give what is left when no token comes any more."""
        ...


def make_detokenizer(
    tokenizer: Tokenizer,
    prompt_token_ids: Sequence[int],
    *,
    skip_special_tokens: bool = True,
    spaces_between_special_tokens: bool = True,
) -> Detokenizer:
    """The fastest detokeniser that fits the tokenizer, set up behind the given prompt."""
    table = tokenizer.pieces(skip_special_tokens)
    if table is not None:
        return PieceDetokenizer(table, prompt_token_ids)
    return WindowDetokenizer(
        tokenizer,
        prompt_token_ids,
        skip_special_tokens=skip_special_tokens,
        spaces_between_special_tokens=spaces_between_special_tokens,
    )


class PieceDetokenizer:
    """For tokenizers with a piece table: joins bytes and leaves characters to Python's incremental UTF-8 decoder."""

    __slots__ = ("_at_start", "_decode", "_table")

    def __init__(self, table: PieceTable, prompt_token_ids: Sequence[int] = ()) -> None:
        self._table = table
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._at_start = table.strips_leading_spaces > 0 and not any(map(table.__getitem__, prompt_token_ids))
        self.append(prompt_token_ids[-PROMPT_CONTEXT_TOKENS:])

    def append(self, token_ids: Sequence[int]) -> str:
        table = self._table
        joined = table[token_ids[0]] if len(token_ids) == 1 else b"".join(map(table.__getitem__, token_ids))
        if self._at_start and joined:
            joined = self._strip_start(joined)
        return self._decode(joined)

    def flush(self) -> str:
        return self._decode(b"", True)

    def _strip_start(self, joined: bytes) -> bytes:
        """A decoder that puts a space before each word removes the one before the first."""
        self._at_start = False
        most = self._table.strips_leading_spaces
        spaces = len(joined) - len(joined.lstrip(b" "))
        return joined[min(most, spaces) :]


class WindowDetokenizer:
    """For every tokenizer: decodes a short window again and again, and shows what it adds to the text shown before.

    `_ids[:_shown_to]` is text that was shown already and serves as context; what follows is not shown yet.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        prompt_token_ids: Sequence[int] = (),
        *,
        skip_special_tokens: bool = True,
        spaces_between_special_tokens: bool = True,
    ) -> None:
        self._tokenizer = tokenizer
        self._skip_special_tokens = skip_special_tokens
        self._glue_special_tokens = not (skip_special_tokens or spaces_between_special_tokens)
        self._special_ids = frozenset(tokenizer.all_special_ids)
        self._after_special = False
        self._ids = self._context(prompt_token_ids)
        self._shown_to = len(self._ids)
        while self._shown_to and self._text(self._ids[: self._shown_to]).endswith(BROKEN):
            self._shown_to -= 1  # the prompt ends inside a character: the output that completes it shows it

    def _context(self, prompt_token_ids: Sequence[int]) -> list[int]:
        """The visible prompt's end; more of it where a character seems broken there, which may only be cut in front."""
        hidden = self._special_ids if self._skip_special_tokens else frozenset()
        visible = [token_id for token_id in prompt_token_ids if token_id not in hidden]
        length = PROMPT_CONTEXT_TOKENS
        while length < len(visible) and self._text(visible[-length:]).endswith(BROKEN):
            length *= 2
        return visible[-length:]

    def append(self, token_ids: Sequence[int]) -> str:
        return "".join(map(self._append_one, token_ids))

    def flush(self) -> str:
        return self._advance(self._unseen())

    def _append_one(self, token_id: int) -> str:
        self._ids.append(token_id)
        is_special = token_id in self._special_ids
        glued, self._after_special = self._glue_special_tokens and is_special and self._after_special, is_special
        unseen = self._unseen()
        if not unseen or unseen.endswith(BROKEN):
            return ""
        return self._advance(self._tokenizer.convert_ids_to_tokens([token_id])[0] if glued else unseen)

    def _unseen(self) -> str:
        shown = self._text(self._ids[: self._shown_to])
        return self._text(self._ids)[len(shown) :]

    def _advance(self, text: str) -> str:
        del self._ids[: self._shown_to]
        self._shown_to = len(self._ids)
        return text

    def _text(self, token_ids: list[int]) -> str:
        return self._tokenizer.decode(token_ids, skip_special_tokens=self._skip_special_tokens)
