"""Owns the limit of a request's head: uvicorn's fast protocol takes one of any length, and keeps it."""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["MAX_HEAD_bytes", "BoundedHeads"]

MAX_HEAD_bytes = 1 << 16
"""Of the address and all headers together, beyond what comes at once; as much as uvicorn's other protocol takes."""


class BoundedHeads(HttpToolsProtocol):
    """A connection that is closed, with a 400, once a head has grown too long without having ended."""

    _in_head = False
    _head_bytes = 0

    def data_received(self, data: bytes) -> None:
        """Count what is head from its first byte to its last: the rest may belong to the request before, or to a body."""
        was_in_head = self._in_head
        super().data_received(data)
        if was_in_head and self._in_head and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_bytes:
                self.send_400_response("The request's headers are too long.")

    def on_message_begin(self) -> None:
        """A head begins."""
        self._in_head, self._head_bytes = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """What comes now is the body."""
        self._in_head = False
        super().on_headers_complete()
