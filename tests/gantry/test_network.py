"""What the environment of a client's machine can get wrong is one sentence that says what to do."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from gantry.client import BadSettingError, Client, UnreachableError
from gantry.network import Network
from tests.ports import free_port

_VARIABLES = (
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE"),
)
_ELSEWHERE = "http://gpu-box.invalid:8000"


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in _VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("ALL_PROXY", "socks://127.0.0.1:7891", "must be http://, https://, socks5:// or socks5h://"),
        ("all_proxy", "http://me:s3cret@host:abc", "cannot be used"),
        ("http_proxy", "http://", "cannot be used"),
        ("HTTP_PROXY", "ftp://me:s3cret@host", "cannot be used"),
        ("ALL_PROXY", "socks5://127.0.0.1:7891", "pip install socksio"),
    ],
)
def test_a_proxy_that_cannot_be_used_is_named_by_its_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, sentence: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(BadSettingError) as refused:
        Client(_ELSEWHERE)
    assert name in str(refused.value) and sentence in str(refused.value) and "NO_PROXY" in str(refused.value)
    assert "s3cret" not in str(refused.value)
    Client("http://127.0.0.1:8000").close()
    monkeypatch.setenv("NO_PROXY", "example.org,gpu-box.invalid")
    Client(_ELSEWHERE).close()


@pytest.mark.parametrize("no_proxy", ["[::1],fe80::/10", "[", "*.invalid.example", ""])
def test_an_odd_no_proxy_changes_nothing(monkeypatch: pytest.MonkeyPatch, no_proxy: str) -> None:
    monkeypatch.setenv("HTTP_PROXY", "127.0.0.1:3128")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    assert Network.to(_ELSEWHERE).proxy_name == "127.0.0.1:3128 (HTTP_PROXY)"


@pytest.mark.parametrize("url", ["http://[fd00::1]:8000", "http://box.lan:8000", "https://a.box.lan"])
def test_no_proxy_names_hosts(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "[fd00::1], box.lan")
    assert Network.to(url).proxy is None


def test_a_proxy_that_does_not_answer_is_told_from_a_service_that_does_not_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    port = free_port()
    monkeypatch.setenv("HTTP_PROXY", f"http://me:s3cret@127.0.0.1:{port}")
    with Client(_ELSEWHERE) as client, pytest.raises(UnreachableError) as refused:
        client.jobs()
    sentence = str(refused.value)
    assert (
        f"through the proxy 127.0.0.1:{port} (HTTP_PROXY)" in sentence and "gpu-box.invalid to NO_PROXY" in sentence
    )
    assert "gantry up" not in sentence and "s3cret" not in sentence


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "SSLKEYLOGFILE"])
def test_a_file_of_certificates_that_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(ssl.get_default_verify_paths().openssl_cafile))
    missing = str(tmp_path / "missing" / "file")
    monkeypatch.setenv(name, missing)
    with pytest.raises(BadSettingError, match=f"{name}={missing}"):
        Client("https://gpu-box.invalid")
    Client(_ELSEWHERE).close()  # without https nothing has to be read


@contextmanager
def _answering(answer: bytes) -> Iterator[int]:
    """Yield the port of a server that sends `answer` to its only client, whatever that sends."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            client, _ = server.accept()
            with client:
                client.recv(65536)
                client.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        thread.join()


@pytest.mark.parametrize(
    ("scheme", "answer", "sentence"),
    [
        ("https", b"HTTP/1.1 400 Bad Request\r\n\r\n", "does its address begin with http://?"),
        ("http", b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc", "is it Gantry?"),
        ("http", b"SSH-2.0-OpenSSH_9\r\n", "No service answers"),
    ],
)
def test_a_server_of_another_kind_is_a_sentence(scheme: str, answer: bytes, sentence: str) -> None:
    with _answering(answer) as port, Client(f"{scheme}://127.0.0.1:{port}") as client:
        with pytest.raises(UnreachableError) as refused:
            client.jobs()
        assert sentence in str(refused.value)


def test_a_certificate_that_is_not_trusted_is_a_sentence() -> None:
    cause = ssl.SSLCertVerificationError(1, "certificate verify failed")
    cause.verify_message = "self-signed certificate"
    error = httpx2.ConnectError("certificate verify failed")
    error.__cause__ = cause
    sentence = str(Network.to("https://gpu-box.invalid").error(error))
    assert "does not trust the certificate of https://gpu-box.invalid (self-signed certificate)" in sentence
    assert "SSL_CERT_FILE" in sentence
