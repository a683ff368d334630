"""The matrix: requests with bad input, and the expected answers. Each row has been tried on some service."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from tests.hostile.row import HostileRow, raw_request
from tests.hostile.target import JSON, Target
from tests.hostile.upload_rows import archives, images, uploads

LIMIT: Final = 256 * 1024


def _spec(what: str, wanted: str, /, **fields: Any) -> HostileRow:
    return HostileRow("spec", what, (wanted,), lambda target: target.spec(**fields))


def _json(name: str, data: bytes, wanted: str = "400 malformed-json", **headers: str) -> HostileRow:
    return HostileRow("body", name, (wanted,), lambda target: target.post(data=data, headers=headers))


def _get(kind: str, name: str, path: str, *wanted: str, **headers: str) -> HostileRow:
    return HostileRow(kind, name, wanted, lambda target: target.ask("GET", path, headers=headers))


def _path(name: str, path: str) -> HostileRow:
    return raw_request("path", name, ("404 not-found",), lambda t: [t.head("GET", path, {"Connection": "close"})])


def bodies() -> Iterator[HostileRow]:
    yield _json("not JSON", b"{dataset: x}")
    yield _json("an empty body", b"")
    yield _json("NaN", b'{"seed": NaN}')
    yield _json("Infinity", b'{"seed": -Infinity}')
    yield _json("a key twice", b'{"seed": 1, "seed": 2}')
    yield _json("21 deep", b"[" * 21 + b"]" * 21)
    yield _json("100,000 deep", b"[" * 100_000)
    yield _json("strings that never end", b'"' + b'\\"' * 120_000)
    yield _json("a number of 5,000 digits", b'{"seed": ' + b"9" * 5_000 + b"}")
    yield _json("not UTF-8", b'{"name": "\xff"}')
    yield _json("half a character", b'{"name": "\\ud800"}')
    yield _json("another media type", b"{}", "415 unsupported-media-type", **{"Content-Type": "text/xml"})
    yield _json(
        "another charset",
        b"{}",
        "415 unsupported-media-type",
        **{"Content-Type": JSON["Content-Type"] + ";charset=utf-7"},
    )
    yield _json("256 KiB and a byte", b" " * (LIMIT + 1), "413 body-too-large")
    yield HostileRow(
        "body", "10 MB in chunks", ("413 body-too-large",), lambda t: t.post(data=(bytes(65536) for _ in range(160)))
    )
    yield _json("a name of 10 MB", json.dumps({"name": "n" * 10_000_000}).encode(), "413 body-too-large")
    yield _json(
        "15,000 unknown fields", json.dumps({f"f{i}": i for i in range(15_000)}).encode(), "422 missing-field"
    )
    yield HostileRow("body", "a body that never comes", ("408 request-timeout",), _send_slow_body, slow=True)


def specs() -> Iterator[HostileRow]:
    yield _spec("unknown field", "422 unknown-field", stepz=3)
    yield _spec("a field of the record", "422 unknown-field", status="succeeded")
    yield _spec("a class to import", "422 unknown-field", callback="os.system")
    yield _spec("a class in place of a kind", "422 not-one-of", loss={"kind": "os.system"})
    yield _spec("a path in place of a name", "422 unknown-dataset", dataset="../../etc/passwd")
    yield _spec("a number as text", "422 wrong-type", batch_size="8")
    yield _spec("out of range", "422 out-of-range", batch_size=4_097)
    yield _spec("10^18 steps", "422 out-of-range", total_steps=10**18)
    yield _spec("a number of 300 digits", "422 out-of-range", seed=10**300)
    yield _spec("1383.0 for a whole number", "200", total_steps=1383.0)
    yield HostileRow("spec", "more memory than any device has", ("422 over-limit",), _giant)
    for name, text in (
        *(
            ("NUL in a name", "a\0b"),
            ("a line end in a name", "a\r\nSet-Cookie: b"),
            ("an escape in a name", "\x1b[2J"),
        ),
        *(
            ("right to left in a name", "gpj.\u202egnp"),
            ("isolates in a name", "a\u2066b"),
            ("201 letters", "n" * 201),
        ),
    ):
        wanted = "422 out-of-range" if len(text) > 200 else "422 bad-format"
        yield _spec(name, wanted, name=text)
    yield _spec("NUL in a label", "422 bad-format", labels={"k": "a\0b"})
    yield _spec("a label's key as a path", "422 bad-format", labels={"../k": "v"})
    yield _spec("17 labels", "422 out-of-range", labels={f"k{i}": "v" for i in range(17)})


def addresses() -> Iterator[HostileRow]:
    for name, job_id in (
        *(("unknown id", "job_01JD2M9Z8V3H4W5X6Y7Z8A9B0C"), ("no id", "x"), ("SQL in an id", "x'%20OR%201=1--")),
        *(("an id of 6,000 letters", "j" * 6000), ("an emoji", "%F0%9F%92%A3"), ("not UTF-8", "%FF%FE")),
    ):
        yield _get("id", name, f"/v1/jobs/{job_id}", "404 job-not-found")
    for name, path in (
        *(("..", "/v1/jobs/../../etc/passwd"), ("%2e%2e%2f", "/v1/jobs/%2e%2e%2fx"), ("NUL", "/v1/jobs/a%00b")),
        *(
            ("a line end", "/v1/jobs/a%0d%0aX: y"),
            ("a preview's name as a path", "/v1/jobs/x/previews/..%2f..%2fa.png"),
        ),
        *(("static files and ..", "/static-offline-docs/..%2f..%2fcore.py"), ("a file of the disk", "/etc/passwd")),
    ):
        yield _path(name, path.replace(" ", ""))
    yield _get("query", "unknown parameter", "/v1/jobs?limt=3", "422 unknown-parameter")
    yield _get("query", "limit=0", "/v1/jobs?limit=0", "422 out-of-range")
    yield _get("query", "limit=10^9", "/v1/jobs?limit=1000000000", "422 out-of-range")
    yield _get("query", "a forged cursor", "/v1/jobs?cursor=eyJhIjogMX0", "422 bad-cursor")
    yield _get("query", "NUL in a label", "/v1/jobs?label=k:a%00b", "422 bad-format")
    yield _get("query", "a parameter twice", "/v1/jobs?limit=1&limit=2", "422 repeated-parameter")
    yield _get("query", "an unknown status", "/v1/jobs?status=x", "422 not-one-of")
    yield HostileRow("query", "10^6 points of a curve", ("422 out-of-range",), _too_many_points)
    yield HostileRow("query", "from after to", ("422 out-of-range",), _reversed_range)
    yield HostileRow("query", "an unsupported media type", ("406 not-acceptable",), _unsupported_type)


def conversations() -> Iterator[HostileRow]:
    yield HostileRow("idempotency", "the same key, another body", ("422 idempotency-key-reused",), _reuse_key)
    yield HostileRow("idempotency", "a key of 10,000 letters", ("422 out-of-range", "422 bad-format"), _long_key)
    yield HostileRow("action", "pause a job that has ended", ("409 invalid-transition",), _pause_ended)
    yield HostileRow("action", "retry a queued job", ("409 invalid-transition",), _retry_queued)
    yield HostileRow("action", "draw from a job without a checkpoint", ("409 no-checkpoint",), _draw)
    yield HostileRow("action", "delete a data set that is built in", ("409 dataset-built-in",), _delete_built_in)


def keys() -> Iterator[HostileRow]:
    for name, sent, code in (
        *(("no key", "", "missing-api-key"), ("basic authentication", "Basic dXNlcjpwYXNz", "invalid-api-key")),
        *(
            ("a forged key", "Bearer gan_live_me", "invalid-api-key"),
            ("10,000 letters", "Bearer " + "k" * 10_000, "invalid-api-key"),
        ),
        ("an unknown key", "Bearer gan_live_0123456789abcdefghijABCDEFGHIJ01_000000", "invalid-api-key"),
    ):
        yield _get("key", name, "/v1/jobs", f"401 {code}", Authorization=sent)
    yield HostileRow("key", "a read-only key", ("403 insufficient-scope",), _read_only_key)
    yield HostileRow("key", "a revoked key", ("401 invalid-api-key",), _revoked)


def protocol() -> Iterator[HostileRow]:
    close = {"Connection": "close"}
    yield raw_request(
        "http", "no HTTP at all", ("400", "closed"), lambda t: [b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n"]
    )
    yield raw_request(
        "http",
        "a header of 1 MB",
        ("400", "431", "closed"),
        lambda t: [t.head("GET", "/v1/jobs", {"X": "a" * 1_000_000, **close})],
    )
    yield raw_request("http", "two lengths", ("400", "closed"), lambda t: [_two_lengths(t)])
    yield raw_request(
        "http",
        "an unknown method",
        ("400", "405 method-not-allowed"),
        lambda t: [t.head("BREW", "/v1/jobs", close)],
    )
    yield raw_request(
        "http",
        "a negative length",
        ("400", "closed"),
        lambda t: [t.head("POST", "/v1/jobs", {"Content-Length": "-1", **close})],
    )
    yield _get(
        "http", "a request id with a line end", "/v1/jobs/x", "404 job-not-found", **{"X-Request-Id": "a b" * 99}
    )
    yield _get("http", "an invalid range", "/healthz", "200", Range="bytes=9-1,x")


def matrix() -> list[HostileRow]:
    """Return all rows."""
    parts = (keys, bodies, specs, addresses, conversations, uploads, archives, images, protocol)
    return [row for made in parts for row in made()]


def _new_key(target: Target) -> dict[str, str]:
    made = target.http.post("/v1/keys", json={"name": "reader", "scopes": ["jobs:read"]}).raise_for_status().json()
    return {"id": made["id"], "Authorization": f"Bearer {made['key']}"}


def _read_only_key(target: Target) -> str:
    key = _new_key(target)
    try:
        return target.post({"dataset": "fashion-mnist-mini"}, headers={"Authorization": key["Authorization"]})
    finally:
        target.ask("DELETE", f"/v1/keys/{key['id']}")


def _revoked(target: Target) -> str:
    key = _new_key(target)
    target.ask("DELETE", f"/v1/keys/{key['id']}")
    return target.ask("GET", "/v1/jobs", headers={"Authorization": key["Authorization"]})


def _send_slow_body(target: Target) -> str:
    head = target.head("POST", "/v1/jobs", {**JSON, "Content-Length": 1000, "Connection": "close"})
    return target.raw([head + b"{", *[b" "] * 100], pause=1.0)


def _two_lengths(target: Target) -> bytes:
    both = {"Content-Length": 4, "Transfer-Encoding": "chunked", **JSON}
    return target.head("POST", "/v1/jobs", both) + b"0\r\n\r\nGET /v1/jobs HTTP/1.1\r\nHost: localhost\r\n\r\n"


def _giant(target: Target) -> str:
    body = {
        "dataset": "fashion-mnist-mini",
        "preset": "sagan",
        "batch_size": 4096,
        "generator": {"base_channels": 256, "z_dim": 1024},
        "discriminator": {"base_channels": 256},
    }
    return target.post(body)


def _submit_job(target: Target, headers: Mapping[str, str] | None = None) -> str:
    """Submit a job of low priority. Return its id."""
    body = {"dataset": "fashion-mnist-mini", "total_steps": 10, "batch_size": 8, "priority": -100}
    job_id: str = target.http.post("/v1/jobs", json=body, headers=dict(headers or {})).raise_for_status().json()["id"]
    return job_id


def _submit_cancelled_job(target: Target) -> str:
    job_id = _submit_job(target)
    while target.http.post(f"/v1/jobs/{job_id}/cancel").json().get("status") not in ("cancelled", 409):
        time.sleep(0.1)
    return job_id


def _ask_cancelled_job(method: str, path: str, **content: Any) -> Callable[[Target], str]:
    """Return a function that sends a request about a cancelled job, and then deletes the job."""

    def send(target: Target) -> str:
        job_id = _submit_cancelled_job(target)
        try:
            return target.ask(method, f"/v1/jobs/{job_id}{path}", **content)
        finally:
            target.ask("DELETE", f"/v1/jobs/{job_id}")

    return send


_too_many_points = _ask_cancelled_job("GET", "/metrics/series?max_points=1000000")
_reversed_range = _ask_cancelled_job("GET", "/metrics/series?from_step=10&to_step=5")
_unsupported_type = _ask_cancelled_job("GET", "/samples", headers={"Accept": "image/bmp"})
_pause_ended = _ask_cancelled_job("POST", "/pause")
_draw = _ask_cancelled_job("GET", "/samples")


def _retry_queued(target: Target) -> str:
    job_id = _submit_job(target)
    try:
        return target.ask("POST", f"/v1/jobs/{job_id}/retry")
    finally:
        target.ask("POST", f"/v1/jobs/{job_id}/cancel")
        target.ask("DELETE", f"/v1/jobs/{job_id}")


def _reuse_key(target: Target) -> str:
    key = {"Idempotency-Key": uuid.uuid4().hex}
    job_id = _submit_job(target, key)
    try:
        return target.post({"dataset": "fashion-mnist-mini", "seed": 9}, headers=key)
    finally:
        target.ask("POST", f"/v1/jobs/{job_id}/cancel")
        target.ask("DELETE", f"/v1/jobs/{job_id}")


def _long_key(target: Target) -> str:
    return target.post({"dataset": "fashion-mnist-mini"}, headers={"Idempotency-Key": "k" * 10_000})


def _delete_built_in(target: Target) -> str:
    return target.ask("DELETE", "/v1/datasets/fashion-mnist")
