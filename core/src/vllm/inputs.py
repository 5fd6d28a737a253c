"""Owns the forms in which a user may give a prompt, and `parse_prompt`, which brings each to one form. No torch, no numpy.

Token ids are checked for type and sign here; that they lie in the vocabulary is checked by `check_token_ids`, once the model is known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any, TypedDict

from vllm.errors import InvalidRequestError, near_names

__all__ = [
    "ParsedPrompt",
    "PromptType",
    "TextPrompt",
    "TokensPrompt",
    "as_prompt_list",
    "check_cache_salt",
    "check_token_ids",
    "parse_prompt",
]

MAX_CACHE_SALT_CHARS = 128
_KEYS = ("prompt", "prompt_token_ids", "cache_salt")
_REFUSED_KEYS = {
    "prompt_embeds": "Prompts given as embeddings are not supported; give `prompt` or `prompt_token_ids`.",
    "multi_modal_data": "This model is not a multimodal model; give text or token ids only.",
    "encoder_prompt": "Encoder-decoder models are not supported; give `prompt` or `prompt_token_ids`.",
}


class _OptionalText(TypedDict, total=False):
    cache_salt: str
    """Up to 128 characters; prompts share cached prefixes only with prompts of the same salt."""


class TextPrompt(_OptionalText):
    """A prompt as text, tokenised by the engine."""

    prompt: str


class _OptionalTokens(TypedDict, total=False):
    prompt: str
    """The text that the ids came from; only repeated in the output."""
    cache_salt: str


class TokensPrompt(_OptionalTokens):
    """A prompt as token ids, taken as they are (no BOS is added)."""

    prompt_token_ids: list[int]


PromptType = str | Sequence[int] | TextPrompt | TokensPrompt
"""Every form of one prompt."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ParsedPrompt:
    """One prompt in the one form that the engine's front works on. At least one of text and token_ids is given."""

    text: str | None
    token_ids: list[int] | None
    """Where given, these are the prompt, and `text` is only repeated in the output."""
    cache_salt: str | None = None


def as_prompt_list(prompts: Any) -> list[PromptType]:
    """What `LLM.generate` was given as a list of prompts: a single prompt becomes a list of one.

    A list of integers is one prompt. Raises InvalidRequestError where it is no prompt and no list of prompts.
    """
    if isinstance(prompts, (str, Mapping)) or _is_token_list(prompts):
        return [prompts]
    if isinstance(prompts, Sequence) and not isinstance(prompts, bytes):
        return list(prompts)
    raise _wrong_type(prompts)


def _is_token_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes)) and bool(value) and _is_id(value[0])


def _is_id(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def parse_prompt(prompt: Any) -> ParsedPrompt:
    """Bring one prompt — str, list of ids, or dict — to the one form; raises InvalidRequestError.

    An empty text passes here: with a tokenizer that puts a BOS in front it is a prompt of one token.
    """
    if isinstance(prompt, str):
        return ParsedPrompt(text=prompt, token_ids=None)
    if isinstance(prompt, Mapping):
        return _parse_mapping(prompt)
    if isinstance(prompt, Sequence) and not isinstance(prompt, bytes):
        return ParsedPrompt(text=None, token_ids=_token_ids(prompt))
    raise _wrong_type(prompt)


def _parse_mapping(prompt: Mapping[str, Any]) -> ParsedPrompt:
    _refuse_foreign_keys(prompt)
    text, token_ids = prompt.get("prompt"), prompt.get("prompt_token_ids")
    if text is None and token_ids is None:
        raise InvalidRequestError(
            f"A prompt given as a dict needs `prompt` or `prompt_token_ids`, got the keys {sorted(prompt)}.",
            parameter="prompt",
        )
    if text is not None and not isinstance(text, str):
        raise _wrong_type(text)
    salt = prompt.get("cache_salt")
    return ParsedPrompt(
        text=text,
        token_ids=None if token_ids is None else _token_ids(token_ids),
        cache_salt=None if salt is None else check_cache_salt(salt),
    )


def _refuse_foreign_keys(prompt: Mapping[str, Any]) -> None:
    for key, value in prompt.items():
        if key in _KEYS or value is None:
            continue
        if key in _REFUSED_KEYS:
            raise InvalidRequestError(_REFUSED_KEYS[key], parameter=key)
        raise InvalidRequestError(
            f"A prompt has no key {key!r}; it may have {', '.join(_KEYS)}.",
            parameter="prompt",
            candidates=near_names(str(key), _KEYS),
        )


def _token_ids(value: Any) -> list[int]:
    """A list of ids of at least 0, not empty. Plain ints take the fast way: prompts are long."""
    if isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
        raise _wrong_type(value)
    if not value:
        raise _empty()
    if not all(type(token) is int for token in value):
        strangers = [token for token in value if not _is_id(token)]
        if strangers:
            raise _wrong_type(value, f"its element {strangers[0]!r} is a {type(strangers[0]).__name__}")
    negative = [token for token in value if token < 0]
    if negative:
        raise InvalidRequestError(
            f"Token ids must be at least 0, but the prompt holds {negative[0]}.", parameter="prompt_token_ids"
        )
    return [int(token) for token in value]


def check_token_ids(token_ids: Sequence[int], vocab_size: int) -> None:
    """Raise InvalidRequestError for an empty prompt, or one with an id outside [0, vocab_size)."""
    if not token_ids:
        raise _empty()
    largest = max(token_ids)
    if largest >= vocab_size:
        raise InvalidRequestError(
            f"Token id {largest} is out of vocabulary: this model's ids run from 0 to {vocab_size - 1}.",
            parameter="prompt_token_ids",
            cause="the prompt was tokenised with another model's tokenizer",
        )


def check_cache_salt(salt: Any) -> str:
    """The salt itself if it is a text of 1 to 128 characters; raises InvalidRequestError otherwise."""
    if not isinstance(salt, str):
        raise InvalidRequestError(f"`cache_salt` must be a string, got {salt!r}.", parameter="cache_salt")
    if not 1 <= len(salt) <= MAX_CACHE_SALT_CHARS:
        raise InvalidRequestError(
            f"`cache_salt` must have 1 to {MAX_CACHE_SALT_CHARS} characters, got {len(salt)}.", parameter="cache_salt"
        )
    try:
        salt.encode()
    except UnicodeEncodeError:
        raise InvalidRequestError(
            f"`cache_salt` must be a text of whole characters, got {salt!r}.", parameter="cache_salt"
        ) from None
    return salt


def _empty() -> InvalidRequestError:
    return InvalidRequestError(
        "The prompt is empty: it has no tokens.",
        parameter="prompt",
        remedy="give some text or at least one token id; with this tokenizer no BOS token is put in front",
    )


def _wrong_type(value: Any, detail: str = "") -> InvalidRequestError:
    what = detail or f"got a {type(value).__name__}"
    return InvalidRequestError(
        f"A prompt must be a str, a list of token ids, or a dict with `prompt` or `prompt_token_ids`; {what}.",
        parameter="prompt",
    )
