"""The proxy misbehaves as it is told to, and not otherwise."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.faults.proxy import Proxy
from tests.ports import free_port


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    """One that stands before a server which sends back whatever it hears."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_echo, args=(listener,), daemon=True).start()
        with Proxy(listener.getsockname()[1]) as made:
            yield made


def _echo(listener: socket.socket) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return  # the test is over
        threading.Thread(target=_answer, args=(connection,), daemon=True).start()


def _answer(connection: socket.socket) -> None:
    with connection:
        try:
            while data := connection.recv(65_536):
                connection.sendall(data)
        except OSError:
            return


def _connect(proxy: Proxy) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", proxy.port), timeout=60)
    assert _said(client, b"hello") == b"hello"
    return client


def _said(client: socket.socket, words: bytes) -> bytes:
    client.sendall(words)
    return _heard(client, len(words))


def _heard(client: socket.socket, count: int) -> bytes:
    heard = b""
    while len(heard) < count and (part := client.recv(count - len(heard))):
        heard += part
    return heard


def test_it_passes_on_what_it_hears_both_ways(proxy: Proxy) -> None:
    with _connect(proxy) as client:
        much = bytes(range(256)) * 4_000
        threading.Thread(target=client.sendall, args=(much,), daemon=True).start()
        assert _heard(client, len(much)) == much


def test_it_hangs_up_when_the_other_end_does(proxy: Proxy) -> None:
    with _connect(proxy) as client:
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
    deadline = time.monotonic() + 60
    while proxy.connections and time.monotonic() < deadline:
        time.sleep(0.01)
    assert proxy.connections == 0


def test_a_reset_breaks_what_is_open_and_nothing_else(proxy: Proxy) -> None:
    with _connect(proxy) as client:
        proxy.reset()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    with _connect(proxy):
        pass


def test_a_stall_keeps_everything_and_loses_nothing(proxy: Proxy) -> None:
    with _connect(proxy) as client:
        began = time.monotonic()
        proxy.stall(0.5)
        assert _said(client, b"later") == b"later"
        assert time.monotonic() - began >= 0.5


def test_a_black_hole_swallows_open_connections_and_leaves_new_ones_alone(proxy: Proxy) -> None:
    with _connect(proxy) as client:
        proxy.black_hole()
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            _said(client, b"into the void")
        with _connect(proxy):
            pass


def test_a_black_hole_for_all_ends_with_broken_connections(proxy: Proxy) -> None:
    with _connect(proxy) as before:
        # Longer than the machine stands still before the new one is there.
        proxy.black_hole(8, new_ones_too=True)
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=60) as new:
            new.sendall(b"anybody?")
            for client in (before, new):
                with pytest.raises(ConnectionResetError):
                    client.recv(1)
    with _connect(proxy):
        pass


def test_a_connection_is_cut_after_so_many_bytes(proxy: Proxy) -> None:
    with _connect(proxy) as client:
        proxy.cut_after(8)  # five there, three back
        client.sendall(b"12345")
        heard = b""
        with pytest.raises(ConnectionResetError):
            while part := client.recv(5):
                heard += part
        assert heard in (b"", b"123")


def test_nobody_behind_it_is_a_broken_connection() -> None:
    with Proxy(free_port()) as proxy:
        try:
            with socket.create_connection(("127.0.0.1", proxy.port), timeout=60) as client:
                assert _hangs_up(client)
        except ConnectionResetError:
            pass  # so soon that connecting has not returned yet


def _hangs_up(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True
