"""The service under test, and its answers in the form of the matrix: "STATUS code"."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx2

BOUNDARY = "hostile"
FORM = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
JSON = {"Content-Type": "application/json"}
_SECONDS = 120.0


def summary_of(status: int, body: bytes | str) -> str:
    """Return status and code, such as "422 unsafe-archive"; only the status if the body is not a problem."""
    with contextlib.suppress(ValueError):
        found = json.loads(body)
        if isinstance(found, dict) and status >= 400:
            errors = found.get("errors") or [{}]
            # The code of the first error of a spec or of parameters.
            inner = errors[0].get("code") if found.get("code") in ("invalid-spec", "invalid-parameters") else None
            return f"{status} {inner or found.get('code')}"
    return str(status)


@dataclass
class Target:
    """A client of the service at `url`, with the headers of a caller."""

    url: str
    headers: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.http = httpx2.Client(base_url=self.url, timeout=_SECONDS, trust_env=False)

    def use_key(self, key: str) -> None:
        """Send this API key with every further request."""
        self.headers["Authorization"] = f"Bearer {key}"
        self.http.headers.update(self.headers)

    def close(self) -> None:
        self.http.close()

    def is_ready(self) -> bool:
        """Return whether the service is ready and has a worker."""
        try:
            ready = self.http.get("/readyz").status_code == 200
            return ready and bool(self.http.get("/v1/workers").json().get("data"))
        except httpx2.TransportError:
            return False

    def ask(self, method: str, path: str, **content: Any) -> str:
        """Send one request. Return status and code."""
        answer = self.http.request(method, path, **content)
        return summary_of(answer.status_code, answer.content)

    def post(
        self,
        body: Any = None,
        *,
        data: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> str:
        """Send POST /v1/jobs with `body` as JSON, or with `data` unchanged. Return status and code."""
        content = json.dumps(body).encode() if data is None else data
        return self.ask("POST", "/v1/jobs", content=content, headers={**JSON, **(headers or {})})

    def spec(self, **fields: Any) -> str:
        """Return the response for a valid job with these fields, as a dry run, so that nothing is stored."""
        body = {"dataset": "fashion-mnist-mini", "total_steps": 10, "batch_size": 8, **fields}
        return self.ask("POST", "/v1/jobs?dry_run=true", json=body)

    def upload(self, content: bytes, name: str = "shoes.zip", **fields: str) -> str:
        """Upload an archive, wait for its validation and delete it. Return the status and what was found."""
        answer = self.http.post("/v1/datasets", files={"file": (name, content, "application/zip")}, data=fields)
        if answer.status_code != 201:
            return summary_of(answer.status_code, answer.content)
        made = answer.json()
        while made["status"] == "validating":
            time.sleep(0.1)
            made = self.http.get(f"/v1/datasets/{made['id']}").json()
        self.http.delete(f"/v1/datasets/{made['id']}")
        codes = sorted({problem["code"] for problem in made["problems"]})
        return " ".join(["201", made["status"], *codes])

    def raw(self, pieces: Iterable[bytes], pause: float = 0.0, wait: float = _SECONDS) -> str:
        """Send `pieces`, `pause` s apart. Return the answer, "closed" without one, or "silence" after `wait` s."""
        place = urlsplit(self.url)
        with socket.create_connection((place.hostname or "", place.port or 80), timeout=_SECONDS) as connection:
            got = b""
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                for piece in pieces:
                    connection.sendall(piece)
                    time.sleep(pause)
                    if pause and (got := _receive_available(connection)):
                        break
            connection.settimeout(wait)
            try:
                return _read_response(connection, got)
            except TimeoutError:
                return "silence"

    def head(self, method: str, path: str, headers: Mapping[str, object]) -> bytes:
        """Return the beginning of a request, up to its body."""
        place = urlsplit(self.url).netloc
        lines = [f"{name}: {value}" for name, value in {**self.headers, **headers}.items()]
        return "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {place}", *lines, "", ""]).encode("latin-1")


def part(name: str, content: bytes, file_name: str | None = None) -> bytes:
    """Return one part of a multipart form."""
    about = f'; filename="{file_name}"' if file_name else ""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{about}\r\n\r\n'
    return head.encode() + content + b"\r\n"


def _receive_available(connection: socket.socket) -> bytes:
    timeout = connection.gettimeout()
    connection.setblocking(False)
    try:
        return connection.recv(65536)
    except BlockingIOError:
        return b""
    finally:
        connection.settimeout(timeout)


def _read_response(connection: socket.socket, got: bytes) -> str:
    with contextlib.suppress(ConnectionResetError):
        while b"\r\n\r\n" not in got or len(_body(got)) < _length(got):
            piece = connection.recv(65536)
            if not piece:
                break
            got += piece
    if not got.startswith(b"HTTP/"):
        return "closed"
    return summary_of(int(got.split()[1]), _body(got))


def _body(got: bytes) -> bytes:
    return got.partition(b"\r\n\r\n")[2]


def _length(got: bytes) -> int:
    for line in got.partition(b"\r\n\r\n")[0].lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 1 << 30
