"""Owns the texts of the generation laws, as token ids of the embedded model: prose of the kind it knows, and counting."""

from __future__ import annotations

import functools

from vllm.testing.reference_model import TINY
from vllm.text.tokenizer import Tokenizer, load_tokenizer

__all__ = ["counting", "prose"]

_PROSE = """The assert statement is a convenient way to insert debugging assertions into a program. The simple form, assert expression,
is equivalent to an if statement that raises an error. The del statement deletes a list of targets, from left to right. A name that is
deleted is removed from the local or global namespace, depending on whether it occurs in a global statement in the same block. The return
statement may only occur in a function definition, not within a nested class definition. If an expression list is present, it is
evaluated, else None is substituted. When return passes control out of a try statement with a finally clause, that clause is executed
before really leaving the function. The import statement finds a module, loading and initializing it if necessary, and then defines a
name in the local namespace for the scope where the import statement occurs. Loops run until their sequence is used up or break ends
them; continue goes on with the next item, and else runs where no break did."""


@functools.cache
def _tokenizer() -> Tokenizer:
    return load_tokenizer(str(TINY))


@functools.cache
def prose() -> tuple[int, ...]:
    """About a thousand ids: more than two blocks of any size in use."""
    return tuple(_tokenizer().encode(_PROSE * 4, add_special_tokens=False))


def counting(first: int) -> tuple[int, ...]:
    """The model goes on with the next numbers."""
    return tuple(_tokenizer().encode(f"Count: {first} {first + 1} {first + 2}"))
