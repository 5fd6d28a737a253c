"""Owns what one connection may take of the server: the length of a request's head, and the time to send a request and to read an answer.

uvicorn's fast protocol has a limit for neither. What a client has begun to send must go on: a head is there within
`VLLM_HTTP_TIMEOUT_RECEIVE` seconds, and every further `PIECE_bytes` of a body (or its end) as well. An answer that waits for its reader is
given up, and the connection cut, when nothing could be sent for `VLLM_HTTP_TIMEOUT_SEND` seconds.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from vllm import envs

__all__ = ["MAX_HEAD_bytes", "PIECE_bytes", "BoundedConnection"]

MAX_HEAD_bytes = 1 << 16
"""Of the address and all headers together, beyond what comes at once; as much as uvicorn's other protocol takes."""
PIECE_bytes = 1 << 14
"""A body that comes slower than this in the time that a head may take is not waited for."""
_TIMEOUT = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class BoundedConnection(HttpToolsProtocol):
    """A connection that is closed once a head has grown too long (400) or comes too slowly (408), or a body, or a reader, is too slow."""

    _in_head = False
    _head_bytes = 0
    _piece_bytes = 0
    _receiving: asyncio.TimerHandle | None = None
    _sending: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A first head is waited for."""
        super().connection_made(transport)
        self._receive_s, self._send_s = envs.VLLM_HTTP_TIMEOUT_RECEIVE, envs.VLLM_HTTP_TIMEOUT_SEND
        self._wait_for_more()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for."""
        self._wait_for_nothing()
        self._stop_clock_of_reader()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what is head from its first byte to its last: the rest may belong to the request before, or to a body."""
        was_in_head = self._in_head
        super().data_received(data)
        if self.transport.is_closing():
            return
        if was_in_head and self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_bytes:
                self.send_400_response("The request's headers are too long.")
        elif self._receiving is not None and not self._in_head:
            self._piece_bytes += len(data)
            if self._piece_bytes >= PIECE_bytes:
                self._wait_for_more()

    def on_message_begin(self) -> None:
        """A head begins."""
        self._in_head, self._head_bytes = True, 0
        self._wait_for_more()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """What comes now is the body."""
        self._in_head = False
        self._wait_for_more()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Now it is our turn."""
        self._wait_for_nothing()
        super().on_message_complete()

    # -- clients that send too slowly --------------------------------------------------------------------------------------------

    def _wait_for_more(self) -> None:
        self._wait_for_nothing()
        self._piece_bytes = 0
        self._receiving = self.loop.call_later(self._receive_s, self._too_slow)

    def _wait_for_nothing(self) -> None:
        if self._receiving is not None:
            self._receiving.cancel()
            self._receiving = None

    def _too_slow(self) -> None:
        self._receiving = None
        if self.flow.read_paused:  # by us
            self._wait_for_more()
            return
        if self._in_head:
            self.transport.write(_TIMEOUT)
        self.transport.close()
        self._start_clock_of_reader()

    # -- clients that read too slowly --------------------------------------------------------------------------------------------

    def pause_writing(self) -> None:
        """More is waiting to be sent than should be."""
        super().pause_writing()
        self._start_clock_of_reader()

    def resume_writing(self) -> None:
        """The client has read."""
        self._stop_clock_of_reader()
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        """The connection is closed once all is sent, which may be never."""
        super().timeout_keep_alive_handler()
        self._start_clock_of_reader()

    def _start_clock_of_reader(self) -> None:
        self._stop_clock_of_reader()
        self._sending = self.loop.call_later(self._send_s, self.transport.abort)

    def _stop_clock_of_reader(self) -> None:
        if self._sending is not None:
            self._sending.cancel()
            self._sending = None
