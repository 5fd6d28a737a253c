"""Owns what an engine needs to know of its model's text: the tokenizer, and the grammars over its tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vllm.sampling.structured_output import GrammarFactory
from vllm.text.tokenizer import load_tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable

    from vllm.config import VllmConfig
    from vllm.text.tokenizer import Tokenizer

__all__ = ["grammar_factory", "late_grammar_factory", "load_model_tokenizer"]


def load_model_tokenizer(config: VllmConfig) -> Tokenizer | None:
    """The tokenizer that the configuration names; None with `skip_tokenizer_init`."""
    model = config.model_config
    if model.skip_tokenizer_init:
        return None
    return load_tokenizer(model.tokenizer, mode=model.tokenizer_mode, trust_remote_code=model.trust_remote_code)


def grammar_factory(config: VllmConfig, load: Callable[[], Tokenizer]) -> GrammarFactory:
    """Grammars for the configuration's model, over the tokenizer that `load` gives."""
    model = config.model_config
    return GrammarFactory(load, vocab_size=model.vocab_size, eos_token_ids=model.eos_token_ids)


def late_grammar_factory(config: VllmConfig) -> GrammarFactory | None:
    """The same for a process that has no tokenizer: it loads one with its first grammar."""
    if config.model_config.skip_tokenizer_init:
        return None

    def load() -> Tokenizer:
        tokenizer = load_model_tokenizer(config)
        assert tokenizer is not None, "skip_tokenizer_init was looked at above"
        return tokenizer

    return grammar_factory(config, load)
