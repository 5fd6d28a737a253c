"""Owns the arguments that vLLM's methods take and this release does not: asking for nothing is granted, anything else refused.

Code written for vLLM often spells such arguments out with the value that changes nothing. The options of an engine have the
same rule in `config/absent_options.py`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from vllm.errors import InvalidRequestError

__all__ = ["CALLS", "SAMPLING", "grants_absent", "refuse_absent_arguments"]

C = TypeVar("C", bound=type)

_NO_LORA = "leave it out: this release has no LoRA adapters"
_TOKENIZE = "leave it out, or tokenize yourself and give {'prompt_token_ids': ids}"

CALLS: Mapping[str, str] = {
    "lora_request": _NO_LORA,
    "prompt_adapter_request": "leave it out: this release has no prompt adapters",
    "prompt_token_ids": "give the ids as prompts: a list of ids each, or {'prompt_token_ids': ids}",
    "tokenization_kwargs": _TOKENIZE,
    "guided_options_request": "give SamplingParams(structured_outputs=StructuredOutputsParams(…))",
    "mm_processor_kwargs": "leave it out: this release has no multimodal models",
    "chat_template_content_format": "leave it out: contents are given to the template as texts",
    "concurrency_limit": "leave it out: the scheduler decides how many beams run at once (max_num_seqs)",
}
"""Of `LLM.generate`, `chat` and `beam_search` -> what to do instead."""

SAMPLING: Mapping[str, str] = {
    "best_of": "ask for all outputs with n, and take those of the highest cumulative_logprob",
    "truncate_prompt_tokens": _TOKENIZE,
    "logits_processors": "write a LogitsProcessor class, start the engine with LLM(logits_processors=[…]), "
    "and give it this request's values in extra_args",
    "guided_decoding": "give structured_outputs=StructuredOutputsParams(…)",
    "use_beam_search": "call LLM.beam_search with BeamSearchParams",
    "length_penalty": "call LLM.beam_search with BeamSearchParams(length_penalty=…)",
    "early_stopping": "call LLM.beam_search with BeamSearchParams",
}
"""Of `SamplingParams` -> what to do instead."""

_CHANGES_NOTHING: Mapping[str, object] = {"chat_template_content_format": "auto", "best_of": 1, "length_penalty": 1.0}
"""Values besides None and False that ask for nothing."""


def refuse_absent_arguments(where: str, given: Mapping[str, Any], absent: Mapping[str, str]) -> None:
    """Let pass what asks for nothing; `where` is the method or class.

    Raises:
        InvalidRequestError: it asks for something that is not here.
        TypeError: vLLM has no such argument either.
    """
    for name, value in given.items():
        if name not in absent:
            raise TypeError(f"{where} got an unexpected keyword argument {name!r}")
        if value is None or value is False or (name in _CHANGES_NOTHING and value == _CHANGES_NOTHING[name]):
            continue
        raise InvalidRequestError(
            f"{where} does not take `{name}` in this release.", parameter=name, remedy=absent[name]
        )


def grants_absent(absent: Mapping[str, str]) -> Callable[[C], C]:
    """A class decorator: the constructor knows these keywords too. Those who do not use them pay for no look-up."""

    def extend(cls: C) -> C:
        known = cls.__init__  # type: ignore[misc]

        @functools.wraps(known)
        def init(self: Any, *values: Any, **given: Any) -> None:
            try:
                known(self, *values, **given)
            except TypeError:
                others = {name: given.pop(name) for name in list(given) if name in absent}
                if not others:
                    raise
                refuse_absent_arguments(cls.__name__, others, absent)
                known(self, *values, **given)

        cls.__init__ = init  # type: ignore[misc]
        return cls

    return extend
