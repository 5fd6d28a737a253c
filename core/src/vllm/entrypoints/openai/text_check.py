"""Owns the refusal of JSON texts that are no Unicode: half a surrogate pair is valid JSON, but no tokenizer and no answer can hold it."""

from __future__ import annotations

import json
import re
from http import HTTPStatus

from fastapi import Request

from vllm.entrypoints.openai.http_errors import ApiError

__all__ = ["refuse_lone_surrogates"]

_SUSPECT = re.compile(rb"\\u[dD][89a-fA-F]|\xed[\xa0-\xbf]|\x00")
"""An escape; the bytes that UTF-8 would have, which Python's JSON lets pass; a zero, which UTF-16 and UTF-32 are full of."""


async def refuse_lone_surrogates(request: Request) -> None:
    """A dependency of routes that take JSON. Raises the 400; costs one search in the body."""
    body = await request.body()
    if _SUSPECT.search(body) is None:
        return
    try:
        json.dumps(json.loads(body), ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ApiError(
            HTTPStatus.BAD_REQUEST,
            f"body: holds U+{ord(error.object[error.start]):04X}, half of a surrogate pair, which is no character.",
            parameter="body",
            error_type="Bad Request",
        ) from None
    except (ValueError, RecursionError):
        return  # no JSON: the route says so
