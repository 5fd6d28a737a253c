"""Owns what a request itself calls the form of its output: the engine knows `structured_outputs` alone, and refuses by that name.

A refusal names the field that the user wrote: `response_format` and its kin in other APIs, or the tools of a forced call.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from vllm.errors import InvalidRequestError

if TYPE_CHECKING:
    from vllm.entrypoints.openai.protocol.common import GenerationRequest

__all__ = ["FORCED_CALL", "FormNames", "form_names", "in_users_words"]

FormNames = Mapping[str, str]
"""The engine's name of a field -> the user's."""
_WHOLE = "structured_outputs"
_KIND_OF = {"json_schema": "json", "json_object": "json_object", "structural_tag": "structural_tag"}
"""A form's type -> what the engine calls it."""
FORCED_CALL: FormNames = {f"{_WHOLE}.json": "tools", _WHOLE: "tool_choice"}


def form_names(body: GenerationRequest, field: str) -> FormNames:
    """For a request whose `response_format` was written as `field`. What it wrote as `structured_outputs` keeps that name."""
    kind = _KIND_OF.get(body.response_format.type) if body.response_format else None
    if kind is None:
        return {}
    return {f"{_WHOLE}.{kind}": field} | ({_WHOLE: field} if body.structured_outputs is None else {})


@contextmanager
def in_users_words(names: FormNames) -> Iterator[None]:
    """Within, a refused field is called by the name that the user knows."""
    try:
        yield
    except InvalidRequestError as error:
        known = names.get(error.parameter or "")
        if known is None:
            raise
        raise InvalidRequestError(str(error).replace(f"`{error.parameter}`", f"`{known}`"), parameter=known) from error
