"""Owns what users call on `LLM.get_tokenizer()` beyond the engine's needs, in the manner of a Transformers tokenizer.

Everything here is built on the few methods that a subclass gives.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from vllm.errors import InvalidRequestError
from vllm.text.chat_template import render_chat_template, select_chat_template

__all__ = ["BatchEncoding", "UserTokenizer"]


class BatchEncoding(dict[str, Any]):
    """A tokenizer call's result: a dict with `input_ids` and `attention_mask`, also readable as attributes."""

    @property
    def input_ids(self) -> Any:
        return self["input_ids"]

    @property
    def attention_mask(self) -> Any:
        return self["attention_mask"]


class UserTokenizer(ABC):
    """The user's view of a tokenizer."""

    chat_template: str | dict[str, str] | None
    is_fast = True

    @property
    @abstractmethod
    def special_tokens_map(self) -> dict[str, Any]: ...
    @abstractmethod
    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]: ...
    @abstractmethod
    def encode_batch(self, texts: Sequence[str], *, add_special_tokens: bool = True) -> list[list[int]]: ...
    @abstractmethod
    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool = False) -> str: ...
    @abstractmethod
    def convert_tokens_to_ids(self, tokens: Any) -> Any: ...
    @abstractmethod
    def convert_ids_to_tokens(self, ids: Any) -> Any: ...
    @abstractmethod
    def get_vocab(self) -> dict[str, int]: ...

    @property
    def bos_token(self) -> str | None:
        return self.special_tokens_map.get("bos_token")

    @property
    def eos_token(self) -> str | None:
        return self.special_tokens_map.get("eos_token")

    @property
    def pad_token(self) -> str | None:
        return self.special_tokens_map.get("pad_token")

    @property
    def unk_token(self) -> str | None:
        return self.special_tokens_map.get("unk_token")

    @property
    def bos_token_id(self) -> int | None:
        return self._named_id("bos_token")

    @property
    def eos_token_id(self) -> int | None:
        return self._named_id("eos_token")

    @property
    def pad_token_id(self) -> int | None:
        return self._named_id("pad_token")

    @property
    def unk_token_id(self) -> int | None:
        return self._named_id("unk_token")

    def _named_id(self, name: str) -> int | None:
        token = self.special_tokens_map.get(name)
        return None if token is None else self.get_vocab_id(token)

    @abstractmethod
    def get_vocab_id(self, token: str) -> int | None:
        """The id of exactly this token, or None."""

    def __call__(self, text: str | Sequence[str], add_special_tokens: bool = True) -> BatchEncoding:
        """Encode one text (lists of ids) or several (lists of lists)."""
        if isinstance(text, str):
            ids = self.encode(text, add_special_tokens=add_special_tokens)
            return BatchEncoding(input_ids=ids, attention_mask=[1] * len(ids))
        batch = self.encode_batch(text, add_special_tokens=add_special_tokens)
        return BatchEncoding(input_ids=batch, attention_mask=[[1] * len(ids) for ids in batch])

    def tokenize(self, text: str, add_special_tokens: bool = False) -> list[str]:
        tokens: list[str] = self.convert_ids_to_tokens(self.encode(text, add_special_tokens=add_special_tokens))
        return tokens

    def batch_decode(self, sequences: Sequence[Sequence[int]], skip_special_tokens: bool = False) -> list[str]:
        return [self.decode(ids, skip_special_tokens=skip_special_tokens) for ids in sequences]

    def get_chat_template(self, chat_template: str | None = None, tools: list[dict[str, Any]] | None = None) -> str:
        """The template that would be used: the given one, the given name's, or the model's own."""
        return select_chat_template(self.chat_template, chat_template, has_tools=bool(tools))

    def apply_chat_template(
        self,
        conversation: Sequence[Any],
        tools: list[dict[str, Any]] | None = None,
        documents: list[dict[str, Any]] | None = None,
        chat_template: str | None = None,
        add_generation_prompt: bool = False,
        continue_final_message: bool = False,
        tokenize: bool = True,
        return_dict: bool = True,
        **kwargs: Any,
    ) -> Any:
        """Render messages as the model saw them in training: text, or ids, or a BatchEncoding, as Transformers 5 gives them."""
        if conversation and isinstance(conversation[0], (list, tuple)):
            raise InvalidRequestError("Give one conversation at a time: a list of messages.", parameter="conversation")
        text = render_chat_template(
            self.get_chat_template(chat_template, tools),
            conversation,
            variables={**self.special_tokens_map, "tools": tools, "documents": documents, **kwargs},
            add_generation_prompt=add_generation_prompt,
            continue_final_message=continue_final_message,
        )
        if not tokenize:
            return text
        encoding = self(text, add_special_tokens=False)
        return encoding if return_dict else encoding.input_ids
