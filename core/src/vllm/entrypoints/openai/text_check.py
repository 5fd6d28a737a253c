"""Owns the refusal of JSON texts that are no Unicode: half a surrogate pair is valid JSON, but no tokenizer and no answer can hold it."""

from __future__ import annotations

import json
from http import HTTPStatus

from fastapi import Request

from vllm.entrypoints.openai.http_errors import ApiError
from vllm.entrypoints.openai.large_bodies import beside_if_large

__all__ = ["refuse_lone_surrogates"]

_SUSPECT = (b"\\ud", b"\\uD", b"\xed", b"\x00")
"""An escape; the first byte that UTF-8 would have, which Python's JSON lets pass; a zero, which UTF-16 and UTF-32 are full of."""


async def refuse_lone_surrogates(request: Request) -> None:
    """A dependency of routes that take JSON. Raises the 400; costs four searches in the body."""
    body = await request.body()
    if not any(each in body for each in _SUSPECT):
        return
    lone = await beside_if_large(request, _lone_surrogate, body)
    if lone is not None:
        raise ApiError(
            HTTPStatus.BAD_REQUEST,
            f"body: holds U+{ord(lone):04X}, half of a surrogate pair, which is no character.",
            parameter="body",
            error_type="Bad Request",
        )


def _lone_surrogate(body: bytes) -> str | None:
    try:
        json.dumps(json.loads(body), ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        return str(error.object[error.start])
    except (ValueError, RecursionError):
        pass  # no JSON: the route says so
    return None
