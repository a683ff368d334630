"""The proxy injects the requested faults, and no others."""

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
    """Yield a proxy of an echo server."""
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
        threading.Thread(target=_echo_connection, args=(connection,), daemon=True).start()


def _echo_connection(connection: socket.socket) -> None:
    with connection:
        try:
            while data := connection.recv(65_536):
                connection.sendall(data)
        except OSError:
            return


def _connect(proxy: Proxy) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", proxy.port), timeout=60)
    assert _exchange(client, b"hello") == b"hello"
    return client


def _exchange(client: socket.socket, sent: bytes) -> bytes:
    client.sendall(sent)
    return _receive(client, len(sent))


def _receive(client: socket.socket, count: int) -> bytes:
    received = b""
    while len(received) < count and (part := client.recv(count - len(received))):
        received += part
    return received


def test_bytes_pass_in_both_directions(proxy: Proxy) -> None:
    with _connect(proxy) as client:
        much = bytes(range(256)) * 4_000
        threading.Thread(target=client.sendall, args=(much,), daemon=True).start()
        assert _receive(client, len(much)) == much


def test_a_close_of_one_end_closes_the_other(proxy: Proxy) -> None:
    with _connect(proxy) as client:
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
    deadline = time.monotonic() + 60
    while proxy.connections and time.monotonic() < deadline:
        time.sleep(0.01)
    assert proxy.connections == 0


def test_a_reset_breaks_open_connections_only(proxy: Proxy) -> None:
    with _connect(proxy) as client:
        proxy.reset()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    with _connect(proxy):
        pass


def test_a_stall_delays_bytes_and_loses_none(proxy: Proxy) -> None:
    with _connect(proxy) as client:
        began = time.monotonic()
        proxy.stall(0.5)
        assert _exchange(client, b"later") == b"later"
        assert time.monotonic() - began >= 0.5


def test_a_black_hole_drops_bytes_of_open_connections_only(proxy: Proxy) -> None:
    with _connect(proxy) as client:
        proxy.black_hole()
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            _exchange(client, b"into the void")
        with _connect(proxy):
            pass


def test_a_black_hole_that_includes_new_connections_resets_all_at_its_end(proxy: Proxy) -> None:
    with _connect(proxy) as before:
        # Longer than the new connection takes on a slow machine.
        proxy.black_hole(8, include_new=True)
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=60) as new:
            new.sendall(b"anybody?")
            for client in (before, new):
                with pytest.raises(ConnectionResetError):
                    client.recv(1)
    with _connect(proxy):
        pass


def test_a_cut_resets_a_connection_after_the_given_bytes(proxy: Proxy) -> None:
    with _connect(proxy) as client:
        proxy.cut_after(8)  # five there, three back
        client.sendall(b"12345")
        received = b""
        with pytest.raises(ConnectionResetError):
            while part := client.recv(5):
                received += part
        assert received in (b"", b"123")


def test_without_a_server_connections_are_reset() -> None:
    with Proxy(free_port()) as proxy:
        try:
            with socket.create_connection(("127.0.0.1", proxy.port), timeout=60) as client:
                assert _is_closed(client)
        except ConnectionResetError:
            pass  # reset before `create_connection` has returned


def _is_closed(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True
