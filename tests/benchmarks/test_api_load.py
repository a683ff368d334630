"""The measurement of the API under load, in small: it runs, and it can fail."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator

import pytest

from benchmarks import GOAL_MISSED, api_load
from benchmarks.api_load import Figure, Load
from benchmarks.clients import latencies
from tests.ports import free_port


@pytest.fixture
def port() -> Iterator[int]:
    """Yield the port of a server with one route."""

    class AnswerHandler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/there" else 404)
            self.send_header("Content-Length", "5000")
            self.end_headers()
            self.wfile.write(b"x" * 5000)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), AnswerHandler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()
    thread.join()


def test_every_client_asks_again_until_the_time_is_over(port: int) -> None:
    taken = latencies(port, ["/there"], clients=3, seconds=0.3)
    assert len(taken) > 6 and all(0 < seconds < 60 for seconds in taken)


def test_an_answer_that_is_no_answer_is_not_measured(port: int) -> None:
    with pytest.raises(RuntimeError, match="404"):
        latencies(port, ["/there", "/nowhere"], clients=2, seconds=0.3)


def test_all_of_it_in_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_load, "free_port", free_port)
    load = Load(rounds=1, seconds=0.3, clients=5, points=2000, tick=30, jobs=60, repeats=2)
    figures = {figure.name: figure for figure in api_load.measure(load)}
    assert all(value > 0 for figure in figures.values() for value in figure.values)
    assert figures["status poll / bare route, p99"].limit == 3.0 and len(figures) == 19
    assert len(figures["2,000 points to 1,000, ticks of 30"].values) == 2


def test_a_goal_that_is_missed_is_the_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    for values, code in (((1.0, 2.0, 9.0), 0), ((1.0, 4.0, 9.0), GOAL_MISSED)):
        monkeypatch.setattr(api_load, "measure", lambda load, url, v=values: [Figure("x", "sqlite", "ms", v, 3.0)])
        assert api_load.main([]) == code
