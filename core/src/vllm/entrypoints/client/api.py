"""Owns OpenAI's API from the client's side: JSON, event streams, keys, and a server's errors as messages of ours."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import msgspec

from vllm.entrypoints.client.http import HttpAnswer, HttpClient, ServerError

__all__ = ["ApiClient", "raise_error_in"]

_OK = 200
_UNAUTHORIZED = 401
_NOT_FOUND = 404
_DONE = b"[DONE]"
_FIELD = b"data:"
_SHOWN_characters = 500
encode = msgspec.json.encode


class ApiClient:
    """One server. Errors are ServerError, with the server's own words where it says some."""

    def __init__(self, url: str, api_key: str | None) -> None:
        """`url`: what comes before every path. Raises ConfigError."""
        self._http = HttpClient(url, {} if api_key is None else {"Authorization": f"Bearer {api_key}"})

    async def get(self, path: str) -> Any:
        """A JSON answer."""
        async with self._http.ask("GET", path) as answer:
            return await self._json(answer, path)

    async def post(self, path: str, body: Any) -> Any:
        """The JSON answer to a JSON body."""
        async with self._http.ask("POST", path, encode(body)) as answer:
            return await self._json(answer, path)

    async def events(self, path: str, body: bytes) -> AsyncGenerator[bytes, None]:
        """The JSON text of each event, until the server says that it is done."""
        async with self._http.ask("POST", path, body) as answer:
            if answer.status != _OK:
                raise self._refusal(answer.status, await answer.read(), path)
            is_done = False
            async for line in _lines(answer):
                data = line[len(_FIELD) :].strip() if line.startswith(_FIELD) else b""
                is_done = is_done or data == _DONE
                if data and not is_done:
                    yield data
            if not is_done:
                raise ServerError("The server ended its stream without saying that it is done.")

    async def first_model(self, path: str) -> str:
        """The name of the model that is served; the first if there are several."""
        models = (await self.get(path)).get("data") or []
        if not models:
            raise ServerError(f"The server at {self._http.url} names no model.", remedy="give its name")
        return str(models[0]["id"])

    def close(self) -> None:
        """Close what is kept open."""
        self._http.close()

    async def _json(self, answer: HttpAnswer, path: str) -> Any:
        body = await answer.read()
        if answer.status != _OK:
            raise self._refusal(answer.status, body, path)
        try:
            return msgspec.json.decode(body)
        except msgspec.DecodeError as error:
            raise ServerError(f"{self._http.url}{path} answered with something that is no JSON.") from error

    def _refusal(self, status: int, body: bytes, path: str) -> ServerError:
        url = self._http.url
        return ServerError(f"{url}{path} answered {status}: {words_of(body)}", remedy=_remedy(status, url + path, url))


def _remedy(status: int, asked: str, url: str) -> str | None:
    if status == _UNAUTHORIZED:
        return "give the server's key with --api-key"
    if status == _NOT_FOUND and "/v1/" not in asked:
        return f"OpenAI's API is usually under /v1: --url {url}/v1"
    return None


def words_of(body: bytes) -> str:
    """The message of an error's body, or the body itself."""
    try:
        found = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return body[:_SHOWN_characters].decode(errors="replace")
    error = found.get("error", found.get("detail", found)) if isinstance(found, dict) else found
    return str(error.get("message", error) if isinstance(error, dict) else error)


def raise_error_in(chunk: dict[str, Any]) -> None:
    """Raise ServerError for an event that tells an error in mid-stream."""
    if "error" in chunk:
        raise ServerError(f"The server broke off its answer: {words_of(encode(chunk))}")


async def _lines(answer: HttpAnswer) -> AsyncGenerator[bytes, None]:
    """Lines of the body, without their ends."""
    rest = b""
    async for part in answer.parts():
        *lines, rest = (rest + part).split(b"\n")
        for line in lines:
            yield line
    if rest:
        yield rest
