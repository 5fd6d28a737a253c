"""Owns HTTP/1.1 from the client's side, on one event loop: connections that are kept, and answers read as they come."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import SplitResult, urlsplit

import httptools

from vllm.errors import ConfigError, VllmError

__all__ = ["HttpAnswer", "HttpClient", "ServerError"]

CONNECT_TIMEOUT_s = 30.0
_READ_bytes = 1 << 16


class ServerError(VllmError, RuntimeError):
    """A server that cannot be reached, that refused a request, or that broke off its answer."""


class HttpAnswer:
    """One answer: its status at once, its body in parts."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._parser = httptools.HttpResponseParser(self)
        self._parts: list[bytes] = []
        self._has_head = self._lasts = False
        self.is_complete = False

    # what httptools calls while it is fed
    def on_headers_complete(self) -> None:
        """The head is there. Whether the connection lasts is asked now: at the end the parser has forgotten."""
        self._has_head = True
        self._lasts = bool(self._parser.should_keep_alive())

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self._parts.append(body)

    def on_message_complete(self) -> None:
        """The end."""
        self.is_complete = True

    @property
    def status(self) -> int:
        """HTTP's status."""
        return int(self._parser.get_status_code())

    @property
    def keeps_connection(self) -> bool:
        """Whether the connection can take another request."""
        return self.is_complete and self._lasts

    async def read_head(self) -> None:
        """Until the status is known."""
        while not self._has_head:
            await self._more()

    async def parts(self) -> AsyncGenerator[bytes, None]:
        """The body as it comes."""
        while True:
            parts, self._parts = self._parts, []
            for part in parts:
                yield part
            if self.is_complete and not self._parts:
                return
            if not self._parts:
                await self._more()

    async def read(self) -> bytes:
        """The whole body."""
        return b"".join([part async for part in self.parts()])

    async def _more(self) -> None:
        data = await self._reader.read(_READ_bytes)
        if not data:
            raise ServerError("The server closed the connection before its answer was complete.")
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            raise ServerError(f"The server's answer is no HTTP: {error}.") from error


class HttpClient:
    """Requests to one server. Connections are used again; `close` ends them."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        """`url`: scheme, host, port, and what comes before every path. Raises ConfigError."""
        parts = _split(url)
        self.url = url.rstrip("/")
        self._host, self._port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._prefix = parts.path.rstrip("/")
        lines = [
            f"{name}: {_one_line(name, value)}" for name, value in ({"Host": parts.netloc} | dict(headers)).items()
        ]
        self._headers = "\r\n".join(lines)
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    @asynccontextmanager
    async def ask(self, method: str, path: str, body: bytes = b"") -> AsyncIterator[HttpAnswer]:
        """The answer, its head read. Leaving early closes the connection, so that the server stops working for it."""
        reader, writer, answer = await self._sent(self._request(method, path, body))
        try:
            yield answer
        finally:
            if answer.keeps_connection:
                self._idle.append((reader, writer))
            else:
                writer.close()

    def close(self) -> None:
        """Close what is kept."""
        for _, writer in self._idle:
            writer.close()
        self._idle.clear()

    def _request(self, method: str, path: str, body: bytes) -> bytes:
        head = f"{method} {self._prefix}{path} HTTP/1.1\r\n{self._headers}\r\nContent-Length: {len(body)}\r\n"
        return f"{head}Content-Type: application/json\r\n\r\n".encode("latin-1") + body

    async def _sent(self, request: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, HttpAnswer]:
        """A kept connection that the server closed meanwhile is no error: the next one is tried, at last a new one."""
        while True:
            is_kept = bool(self._idle)
            reader, writer = self._idle.pop() if is_kept else await self._connected()
            answer = HttpAnswer(reader)
            try:
                writer.write(request)
                await writer.drain()
                await answer.read_head()
            except (OSError, ServerError) as error:
                writer.close()
                if not is_kept:
                    raise ServerError(f"The server at {self.url} gave no answer: {error}") from error
            except BaseException:
                writer.close()
                raise
            else:
                return reader, writer, answer

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            opening = asyncio.open_connection(self._host, self._port, ssl=self._tls)
            return await asyncio.wait_for(opening, CONNECT_TIMEOUT_s)
        except (OSError, asyncio.TimeoutError) as error:
            raise ServerError(
                f"There is no server at {self.url}: {str(error) or 'it does not answer'}.",
                remedy="start one with `vllm serve`, or give the address of one",
            ) from error


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number
        valid = False
    if not valid or not url.isascii() or not url.isprintable() or " " in url:
        raise ConfigError(f"{url!r} is no address of a server.", remedy="give one as http://localhost:8000")
    return parts


def _one_line(name: str, value: str) -> str:
    if not value.isprintable() or not value.isascii():
        raise ConfigError(f"The header {name} holds characters that HTTP does not send.")
    return value
