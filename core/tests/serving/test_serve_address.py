"""Where a server listens: a Unix domain socket behind TLS, a port that is taken, a certificate that is none."""

from __future__ import annotations

import socket
import ssl
import subprocess
from pathlib import Path

import httpx
import pytest

from core.tests.serving.spawned import spawned
from vllm.entrypoints.openai.listener import check_tls, open_listener
from vllm.entrypoints.openai.server_args import ServerArgs
from vllm.errors import ConfigError


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    words = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    subprocess.run([*words.split(), "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    return key, certificate


def test_a_unix_socket_behind_tls_with_a_key(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    key, cert = certificate
    path = tmp_path / "socket"
    with (
        spawned(
            "--uds", str(path), "--ssl-keyfile", str(key), "--ssl-certfile", str(cert), "--api-key", "secret"
        ) as server,
        httpx.Client(
            transport=httpx.HTTPTransport(uds=str(path), verify=ssl.create_default_context(cafile=cert)),
            base_url="https://localhost",
            timeout=60,
        ) as client,
    ):
        assert server.url == str(path)
        assert client.get("/health").status_code == 200
        assert client.post("/v1/completions", json={"prompt": "x"}).status_code == 401
        opened = client.post(
            "/v1/completions", json={"prompt": "x", "max_tokens": 2}, headers={"Authorization": "Bearer secret"}
        )
        assert opened.json()["usage"]["completion_tokens"] == 2
        with pytest.raises(ConfigError, match="Address already in use"):
            open_listener(ServerArgs(uds=str(path)))
        server.process.terminate()
        assert server.exit_status() == 0
    assert not path.exists()


def test_a_socket_that_a_dead_server_left_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    listener = open_listener(ServerArgs(uds=str(path)))
    listener.close()
    assert not path.exists()


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("mine")
    with pytest.raises(ConfigError, match="Address already in use"):
        open_listener(ServerArgs(uds=str(path)))
    assert path.read_text() == "mine"


def test_a_port_that_is_taken_is_told_before_anything_slow() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            ConfigError, match=rf"--port {port}: Address already in use\.\n  Remedy: another server has it"
        ):
            open_listener(ServerArgs(host="127.0.0.1", port=port))


@pytest.mark.parametrize("host, shown", [("127.0.0.1", "127.0.0.1"), (None, "0.0.0.0"), ("::1", "[::1]")])
def test_a_free_port_is_shown(host: str | None, shown: str) -> None:
    listener = open_listener(ServerArgs(host=host, port=0))
    assert listener.url == f"http://{shown}:{listener.socket.getsockname()[1]}"
    listener.close()


@pytest.mark.parametrize("host", ["256.0.0.1", "198.51.100.7", "no.such.host.invalid"])
def test_an_address_of_another_machine(host: str) -> None:
    with pytest.raises(ConfigError, match=f"--host {host} --port 0"):
        open_listener(ServerArgs(host=host, port=0))


def test_tls_options_that_cannot_be_used(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    key, cert = map(str, certificate)
    nothing = tmp_path / "nothing.pem"
    nothing.write_text("nothing")
    check_tls(ServerArgs(ssl_keyfile=key, ssl_certfile=cert, ssl_ca_certs=cert, ssl_ciphers="ECDHE+AESGCM"))
    for options in (
        {"ssl_keyfile": key},
        {"ssl_certfile": str(nothing)},
        {"ssl_certfile": cert, "ssl_keyfile": "/nowhere/key.pem"},
        {"ssl_certfile": cert, "ssl_keyfile": key, "ssl_ciphers": "NONE-SUCH"},
        {"ssl_certfile": cert, "ssl_keyfile": key, "ssl_ca_certs": str(nothing)},
    ):
        with pytest.raises(ConfigError):
            check_tls(ServerArgs(**options))
