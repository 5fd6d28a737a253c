"""Owns log-probabilities as clients read them: completions' four lists, chats' list of tokens, and vLLM's `prompt_logprobs`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vllm.entrypoints.openai.protocol.answers import (
    ChatLogprobs,
    ChatTokenLogprob,
    CompletionLogprobs,
    TokenLogprob,
)

if TYPE_CHECKING:
    from vllm.outputs import Logprob
    from vllm.text.tokenizer import Tokenizer

__all__ = ["CompletionLogprobsWriter", "chat_logprobs", "prompt_logprobs"]

LOWEST_LOGPROB = -9999.0
"""JSON has no minus infinity."""
Position = Mapping[int, "Logprob"] | None


def _value(entry: Logprob) -> float:
    return max(entry.logprob, LOWEST_LOGPROB)


def _token(token_id: int, entry: Logprob | None, *, as_ids: bool, tokenizer: Tokenizer) -> str:
    if as_ids:
        return f"token_id:{token_id}"
    text = None if entry is None else entry.decoded_token
    return tokenizer.token_text(token_id) if text is None else text


class CompletionLogprobsWriter:
    """One output's log-probabilities, in one piece or in many: offsets go on from piece to piece."""

    def __init__(self, tokenizer: Tokenizer, *, as_ids: bool) -> None:
        self._tokenizer = tokenizer
        self._as_ids = as_ids
        self._chars = 0

    def write(self, token_ids: Sequence[int], positions: Iterable[Position]) -> CompletionLogprobs:
        """The next tokens."""
        result = CompletionLogprobs([], [], [], [])
        for token_id, position in zip(token_ids, positions, strict=True):
            own = None if position is None else position.get(token_id)
            result.text_offset.append(self._chars)
            result.tokens.append(self._text(token_id, own))
            result.token_logprobs.append(None if own is None else _value(own))
            result.top_logprobs.append(self._top(position))
            self._chars += len(self._tokenizer.token_text(token_id))
        return result

    def _top(self, position: Position) -> dict[str, float] | None:
        if position is None:
            return None
        return {self._text(token_id, entry): _value(entry) for token_id, entry in position.items()}

    def _text(self, token_id: int, entry: Logprob | None) -> str:
        return _token(token_id, entry, as_ids=self._as_ids, tokenizer=self._tokenizer)


def chat_logprobs(
    token_ids: Sequence[int], positions: Iterable[Position], *, top: int, as_ids: bool, tokenizer: Tokenizer
) -> ChatLogprobs:
    """The log-probabilities of these tokens, each with the `top` most likely ones (-1: all that there are)."""

    def entry_of(token_id: int, entry: Logprob) -> TokenLogprob:
        token = _token(token_id, entry, as_ids=as_ids, tokenizer=tokenizer)
        return TokenLogprob(token, _value(entry), _bytes(token))

    content = []
    for token_id, position in zip(token_ids, positions, strict=True):
        assert position is not None, "output tokens always have a prediction"
        own = entry_of(token_id, position[token_id])
        best = [entry_of(each, entry) for each, entry in _best(position, top)]
        content.append(ChatTokenLogprob(own.token, own.logprob, own.bytes, best))
    return ChatLogprobs(content)


def _best(position: Mapping[int, Logprob], top: int) -> list[tuple[int, Logprob]]:
    """The most likely tokens, best first. The token that came stands among them only if it is one of them."""
    ranked = sorted(position.items(), key=lambda item: -item[1].logprob)
    return ranked if top == -1 else ranked[:top]


def _bytes(token: str) -> list[int]:
    return list(token.encode("utf-8", "replace"))


def prompt_logprobs(positions: Iterable[Position]) -> list[dict[str, Any] | None]:
    """vLLM's form: per prompt token a map of token id to value, rank and text; None for the first token."""
    return [
        None if position is None else {str(key): _full(entry) for key, entry in position.items()}
        for position in positions
    ]


def _full(entry: Logprob) -> dict[str, Any]:
    return {"logprob": _value(entry), "rank": entry.rank, "decoded_token": entry.decoded_token}
