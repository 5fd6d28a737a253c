"""Owns the server's own socket: taken before anything slow, so that a port in use is told at once; and what TLS needs."""

from __future__ import annotations

import errno
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vllm.errors import ConfigError

if TYPE_CHECKING:
    from vllm.entrypoints.openai.server_args import ServerArgs

__all__ = ["Listener", "check_tls", "open_listener"]


@dataclass(frozen=True, slots=True)
class Listener:
    """A bound socket that does not listen yet: who connects before the server is ready is refused at once."""

    socket: socket.socket
    url: str
    """As a client on this machine may write it; for a Unix domain socket its path."""
    path: Path | None = None

    def close(self) -> None:
        """Give the address back. May be called twice."""
        self.socket.close()
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def open_listener(args: ServerArgs) -> Listener:
    """The socket that the options ask for. Raises ConfigError."""
    if args.uds is not None:
        return _unix(Path(args.uds))
    try:
        bound = _bound(args.host, args.port)
    except OSError as error:
        raise _cannot_listen(args, error) from error
    scheme = "http" if args.ssl_certfile is None else "https"
    host = args.host or "0.0.0.0"
    return Listener(bound, f"{scheme}://{f'[{host}]' if ':' in host else host}:{bound.getsockname()[1]}")


def _bound(host: str | None, port: int) -> socket.socket:
    wanted = socket.AF_UNSPEC if host else socket.AF_INET
    family, _, _, _, address = socket.getaddrinfo(host, port, wanted, socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound


def _cannot_listen(args: ServerArgs, error: OSError) -> ConfigError:
    remedies = {
        errno.EADDRINUSE: "another server has it: end that one, or choose another --port (0 takes a free one)",
        errno.EACCES: "ports below 1024 belong to root: choose a higher --port",
        errno.EADDRNOTAVAIL: "--host must be an address of this machine, or be left out",
    }
    return ConfigError(
        f"The server cannot listen on --host {args.host or '0.0.0.0'} --port {args.port}: {error.strerror or error}.",
        remedy=remedies.get(error.errno or 0),
    )


def _unix(path: Path) -> Listener:
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _clear_away(path)
        bound.bind(str(path))
    except OSError as error:
        bound.close()
        raise ConfigError(f"The server cannot listen on --uds {path}: {error.strerror or error}.") from error
    return Listener(bound, str(path), path)


def _clear_away(path: Path) -> None:
    """Remove a socket that a server left behind; one that a server still holds, or another file, stays: binding fails."""
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as visitor:
        try:
            visitor.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()


def check_tls(args: ServerArgs) -> None:
    """Read certificate and key once, before anything slow. Raises ConfigError."""
    if args.ssl_certfile is None:
        if args.ssl_keyfile is not None:
            raise ConfigError("--ssl-keyfile is given without --ssl-certfile.", remedy="give both")
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(args.ssl_certfile, args.ssl_keyfile)
        if args.ssl_ca_certs is not None:
            context.load_verify_locations(args.ssl_ca_certs)
        if args.ssl_ciphers is not None:
            context.set_ciphers(args.ssl_ciphers)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"The TLS options cannot be used: {error}.",
            remedy="--ssl-certfile and --ssl-keyfile need PEM files that belong together; without --ssl-keyfile the "
            "certificate's file holds the key too",
        ) from error
