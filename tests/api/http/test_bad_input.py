"""Invalid requests: every refusal is a problem with pointers."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import quote

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts
from fastapi.testclient import TestClient

from api.app import LARGEST_BODY_BYTES, create_app
from api.http import problems
from api.http.bodies import parse
from api.http.errors import MalformedJsonError
from api.http.parameters import known_parameters
from gan.spec import SpecError
from jobs.errors import GantryError, InvalidRequestError
from jobs.runtime.settings import Settings
from tests.api.conftest import DEFAULT_JOB, FakeWorker, assert_problem

JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("fields", "pointer", "code"),
    [
        ({"stepz": 3}, "/stepz", "unknown-field"),
        ({"generator": {"z_dims": 3}}, "/generator/z_dims", "unknown-field"),
        ({"total_steps": "100"}, "/total_steps", "wrong-type"),
        ({"total_steps": True}, "/total_steps", "wrong-type"),
        ({"total_steps": 0}, "/total_steps", "out-of-range"),
        ({"optimizers": {"g": {"beta1": 1.5}}}, "/optimizers/g/beta1", "out-of-range"),
        ({"loss": {"kind": "hinged"}}, "/loss/kind", "not-one-of"),
        ({"loss": {"kind": "wasserstein"}}, "/loss/kind", "critic-not-lipschitz"),
        ({"penalties": [{"kind": "r1", "weight": -1}]}, "/penalties/0/weight", "out-of-range"),
        ({"penalties": [{"kind": "r1", "wait": 1, "weight": 1}]}, "/penalties/0/wait", "unknown-field"),
        ({"stabilizers": {"augmentation": ["colour"]}}, "/stabilizers/augmentation/0", "not-one-of"),
        ({"preset": "nope"}, "/preset", "unknown-preset"),
        ({"preset": 7}, "/preset", "wrong-type"),
        ({"dataset": "nope"}, "/dataset", "unknown-dataset"),
        ({"dataset": None}, "/dataset", "wrong-type"),
        ({"labels": {"a b": "c"}}, "/labels/a b", "bad-format"),
        ({"name": ""}, "/name", "out-of-range"),
        (
            {"preset": "goodfellow2014", "generator": {"architecture": "dcgan"}},
            "/discriminator/architecture",
            "architectures-differ",
        ),
        ({"batch_size": 4000, "dataset": "fashion-mnist-mini"}, None, None),
    ],
)
def test_an_invalid_field_is_refused_with_a_pointer(
    client: TestClient, fields: dict[str, Any], pointer: str | None, code: str | None
) -> None:
    answer = client.post("/v1/jobs", json={**DEFAULT_JOB, **fields})
    if pointer is None:
        assert answer.status_code == 201
        return
    assert answer.status_code == 422
    errors = answer.json()["errors"]
    assert [(e["pointer"], e["code"]) for e in errors] == [(pointer, code)]


def test_all_problems_of_a_body_are_reported_together(client: TestClient) -> None:
    answer = client.post("/v1/jobs", json={"total_steps": 0, "batch_size": 1, "colour": "red"})
    body = assert_problem(answer, 422, "invalid-spec")
    assert {e["pointer"] for e in body["errors"]} == {"/dataset", "/total_steps", "/batch_size", "/colour"}


def test_a_body_with_thousands_of_problems_gets_a_quick_short_response(client: TestClient) -> None:
    began = time.process_time()
    body = assert_problem(client.post("/v1/jobs", json={f"f{i}": i for i in range(10_000)}), 422, "invalid-spec")
    assert time.process_time() - began < 3 and len(body["errors"]) == 51
    assert body["errors"][-1]["detail"] == "Further problems that are not listed: 9,951."
    answer = client.get("/v1/jobs?" + "&".join(f"p{i}=" for i in range(5_000)))
    assert len(assert_problem(answer, 422, "invalid-parameters")["errors"]) == 51


def test_unknown_names_get_the_valid_ones(client: TestClient) -> None:
    body = assert_problem(client.post("/v1/jobs", json={**DEFAULT_JOB, "preset": "x"}), 422, "unknown-preset")
    assert "cgan" in body["valid_presets"] and "cgan" in body["detail"]
    body = assert_problem(client.post("/v1/jobs", json={"dataset": "x"}), 422, "unknown-dataset")
    assert "fashion-mnist-mini" in body["valid_datasets"] and "fashion-mnist-mini" in body["detail"]


@pytest.mark.parametrize(
    ("sent", "line", "column"),
    [
        (b"", 1, 1),
        (b'{"dataset": }', 1, 13),
        (b'{\n  "seed": NaN}', 2, 11),
        (b'{"name": "NaN",\n "seed": -Infinity}', 2, 10),
        (b'{\n "ema": {"enabled": true, "enabled": false}}', 2, 9),
        (b'{"seed": 1, "seed": 2}', 1, 1),
        (b'{"name": "\xff"}', 1, 11),
        (b"\xef\xbb\xbf{,}", 1, 2),
        (b"\xff\xfe{\0}\0", 1, 1),
        ('{"a": 1}'.encode("utf-16"), 1, 1),
        (b'{"name": "a\\ud800"}', 1, 12),
        (b"[" * 50_000, 1, 21),
        (b'{"a":' * 20 + b"[1]" + b"}" * 20, 1, 101),
        (b'{"a": "[[[[[[[[[[[[[[[[[[[[[[",\n "b": ' + b"[" * 20 + b"]" * 20 + b"}", 2, 26),
        (b'"' + b'\\"' * 100_000, 1, 1),
        (b'{"seed": ' + b"9" * 5000 + b"}", 1, 1),
    ],
)
def test_malformed_json_is_400_with_line_and_column(client: TestClient, sent: bytes, line: int, column: int) -> None:
    body = assert_problem(client.post("/v1/jobs", content=sent, headers=JSON), 400, "malformed-json")
    assert (body["line"], body["column"]) == (line, column)


def test_twenty_levels_are_read() -> None:
    assert parse(b'{"a": "{[", "b":' + b"[" * 19 + b"]" * 19 + b"}")["a"] == "{["


def test_a_byte_order_mark_before_json_is_skipped_and_other_encodings_are_named() -> None:
    assert parse(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}
    with pytest.raises(MalformedJsonError, match="it is UTF-16"):
        parse('{"a": 1}'.encode("utf-16"))


def test_valid_json_is_parsed() -> None:
    assert parse(b'{"a": {"b": [1, 2.5, "NaN"]}, "c": {"b": "\\ud83d\\ude00"}}') == {
        "a": {"b": [1, 2.5, "NaN"]},
        "c": {"b": "\U0001f600"},
    }


@pytest.mark.parametrize("body", [b"[]", b"3", b'"x"', b"null"])
def test_a_body_must_be_an_object(client: TestClient, body: bytes) -> None:
    assert client.post("/v1/jobs", content=body, headers=JSON).status_code == 422


@pytest.mark.parametrize("charset", ["utf-16", '"iso-8859-1"', "nonsense", ""])
def test_another_charset_is_415(client: TestClient, charset: str) -> None:
    headers = {"Content-Type": f"application/json; charset={charset}"}
    body = assert_problem(client.post("/v1/jobs", content=b"{}", headers=headers), 415, "unsupported-media-type")
    assert "UTF-8" in body["detail"]


@pytest.mark.parametrize("media", ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""])
def test_another_content_type_is_415(client: TestClient, media: str) -> None:
    answer = client.post("/v1/jobs", content=b"{}", headers={"Content-Type": media})
    assert_problem(answer, 415, "unsupported-media-type")


def test_a_content_type_may_name_its_charset(client: TestClient) -> None:
    for charset in ("utf-8", '"UTF-8"'):
        headers = {"Content-Type": f"Application/JSON; charset={charset}"}
        assert client.post("/v1/jobs", content=b'{"dataset": "fashion-mnist"}', headers=headers).status_code == 201


def test_a_body_too_large_is_413(client: TestClient) -> None:
    assert_problem(
        client.post("/v1/jobs", content=b" " * (LARGEST_BODY_BYTES + 1), headers=JSON), 413, "body-too-large"
    )

    def drip() -> Any:
        for _ in range(LARGEST_BODY_BYTES // 1024 + 1):
            yield b" " * 1024

    assert_problem(client.post("/v1/jobs", content=drip(), headers=JSON), 413, "body-too-large")


@pytest.mark.parametrize("path", ["/v1", "/v1/jobs/", "/v2/jobs", "/v1/jobs/x/sleep", "/static-offline-docs/x"])
def test_an_unknown_address_is_404(client: TestClient, path: str) -> None:
    assert_problem(client.get(path), 404, "not-found")


def test_an_unknown_method_is_405_with_the_allowed_methods(client: TestClient) -> None:
    for method in ("PUT", "OPTIONS"):
        answer = client.request(method, "/v1/jobs")
        assert_problem(answer, 405, "method-not-allowed")
        assert answer.headers["Allow"] == "GET, HEAD, POST"


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/v1/jobs/job_0", "DELETE, GET, HEAD"),
        ("/v1/jobs/job_0/cancel", "POST"),
        ("/v1/workers/wrk_0/drain", "POST"),
        ("/v1/jobs/job_0/previews/0.png", "GET, HEAD"),
        ("/openapi.json", "GET, HEAD"),
        ("/static-offline-docs/redoc.standalone.js", "GET, HEAD"),
    ],
)
def test_allow_names_the_methods_of_every_route_of_an_address(client: TestClient, path: str, methods: str) -> None:
    answer = client.patch(path)
    assert_problem(answer, 405, "method-not-allowed")
    assert answer.headers["Allow"] == methods


@pytest.mark.parametrize("text", ["a\u00a0b", "\U0001f469\u200d\U0001f680", "\u00ad", "\u05d0"])
def test_every_valid_label_can_be_searched(client: TestClient, fake_worker: FakeWorker, text: str) -> None:
    job_id = fake_worker.submit(labels={"k": text})
    answer = client.get("/v1/jobs", params={"label": f"k:{text}"})
    assert [job["id"] for job in answer.json()["data"]] == [job_id]
    assert_problem(client.get(f"/v1/jobs/{text}"), 404, "job-not-found")


UNSEEN = ["a\x00b", "a\nb", "a\r\nb", "\x1f", "\x7f", "a\x85b", "a\u2028b", "a\u202eb", "\u200f", "\u2066a", "\u061c"]


@pytest.mark.parametrize("text", UNSEEN)
@pytest.mark.parametrize("field", ["name", "dataset", "labels"])
def test_invisible_characters_in_a_text_are_refused(client: TestClient, field: str, text: str) -> None:
    value = {"k": text} if field == "labels" else text
    body = assert_problem(client.post("/v1/jobs", json={**DEFAULT_JOB, field: value}), 422, "invalid-spec")
    assert [e["code"] for e in body["errors"]] == ["bad-format"]
    assert body["errors"][0]["pointer"] == ("/labels/k" if field == "labels" else f"/{field}")


@pytest.mark.parametrize("length", [201, 100_000])
def test_a_name_has_a_largest_length(client: TestClient, length: int) -> None:
    body = assert_problem(client.post("/v1/jobs", json={**DEFAULT_JOB, "name": "n" * length}), 422, "invalid-spec")
    assert len(body["detail"]) < 300, "the message quotes only the beginning of a long value"


@pytest.mark.parametrize("text", UNSEEN)
def test_control_characters_are_refused(client: TestClient, text: str) -> None:
    body = assert_problem(client.get("/v1/jobs", params={"label": f"k:{text}"}), 422, "invalid-parameters")
    assert "control characters" in body["detail"]
    assert_problem(client.get(f"/v1/jobs/{quote(text)}"), 404, "not-found")


@pytest.mark.parametrize("query", ["status=", "status=,", "status=running,,queued", "status=%20"])
def test_an_empty_word_in_a_list_does_not_mean_all(client: TestClient, query: str) -> None:
    body = assert_problem(client.get(f"/v1/jobs?{query}"), 422, "invalid-parameters")
    assert "empty word" in body["detail"]


@pytest.mark.parametrize(
    ("sent", "kind"),
    [(b"null", "null"), (b"[]", "an array"), (b"3.5", "a number"), (b'"x"', "a string"), (b"true", "true")],
)
def test_a_body_that_is_not_an_object_is_named_by_its_json_type(client: TestClient, sent: bytes, kind: str) -> None:
    body = client.post("/v1/jobs", content=sent, headers=JSON).json()
    assert body["detail"] == f"The body must be a JSON object, not {kind}."


def test_documents_refuse_unknown_parameters_too(client: TestClient) -> None:
    assert_problem(client.get("/openapi.json?x=1"), 422, "invalid-parameters")
    assert client.get("/openapi.json").json()["openapi"]


def test_the_root_redirects_to_the_documentation(client: TestClient) -> None:
    answer = client.get("/", follow_redirects=False)
    assert answer.status_code == 307 and answer.headers["Location"] == "/docs"
    assert "/" not in client.get("/openapi.json").json()["paths"]


def test_head_is_get_without_the_body(client: TestClient, fake_worker: FakeWorker) -> None:
    job_id = fake_worker.submit()
    head, get = client.head(f"/v1/jobs/{job_id}"), client.get(f"/v1/jobs/{job_id}")
    assert head.status_code == 200 and head.content == b""
    assert head.headers["ETag"] == get.headers["ETag"]
    missing = client.head("/v1/jobs/job_0")
    assert missing.status_code == 404 and missing.headers["content-type"] == problems.MEDIA_TYPE


def test_the_request_id_is_echoed_or_made(client: TestClient) -> None:
    assert client.get("/healthz", headers={"X-Request-Id": "mine-1"}).headers["X-Request-Id"] == "mine-1"
    assert client.get("/nope", headers={"X-Request-Id": "mine-2"}).json()["request_id"] == "mine-2"
    assert len(client.get("/healthz", headers={"X-Request-Id": "a b" * 99}).headers["X-Request-Id"]) == 32


def test_an_unexpected_error_is_a_500_problem_without_details(sqlite_settings: Settings) -> None:
    app = create_app(sqlite_settings)

    @app.get("/broken")
    def broken() -> None:
        raise RuntimeError("a secret")

    with TestClient(app, raise_server_exceptions=False) as client:
        answer = client.get("/broken", headers={"X-Request-Id": "mine"})
    assert_problem(answer, 500, "internal")
    assert "secret" not in answer.text


def _leaves(cls: type[Exception]) -> list[type[Exception]]:
    below = [leaf for sub in cls.__subclasses__() for leaf in _leaves(sub)]
    return below or [cls]


@pytest.mark.parametrize(
    "leaf", sorted(_leaves(GantryError) + _leaves(InvalidRequestError) + _leaves(SpecError), key=str)
)
def test_every_domain_error_has_a_status(leaf: type[Exception]) -> None:
    assert any(cls in problems.STATUS for cls in leaf.__mro__), f"{leaf.__name__} is missing in api/http/problems.py"


def test_every_code_of_a_domain_error_uses_hyphens() -> None:
    for leaf in _leaves(GantryError) + _leaves(InvalidRequestError):
        assert leaf.code.replace("-", "").isalpha() and leaf.code.islower()  # type: ignore[attr-defined]


def _routes(app: FastAPI) -> list[tuple[str, str]]:
    """Return the method and the path, with ids, of every route of the API."""
    found = []
    for context in iter_route_contexts(app.routes):
        if isinstance(context.original_route, APIRoute) and context.path is not None:
            path = context.path.replace("{step:step}", "0")
            for name in ("job_id", "checkpoint_id", "worker_id", "name_or_id", "name", "key_id", "tenant"):
                path = path.replace(f"{{{name}}}", "x")
            found += [(method, path) for method in sorted(context.methods or ())]
    return found


def test_every_route_refuses_an_unknown_query_parameter(client: TestClient) -> None:
    routes = _routes(client.app)  # type: ignore[arg-type]
    assert len(routes) > 25, routes
    for method, path in routes:
        answer = client.request(method, path, params={"colour": "red"})
        body = assert_problem(answer, 422, "invalid-parameters")
        assert [(e["pointer"], e["code"]) for e in body["errors"]] == [("/colour", "unknown-parameter")], path


def test_a_misspelt_parameter_gets_a_suggestion(client: TestClient) -> None:
    body = client.get("/v1/jobs?limt=3").json()
    assert "did you mean 'limit'?" in body["errors"][0]["detail"]


def test_known_parameters_tells_which_may_be_repeated(client: TestClient) -> None:
    known = {
        context.path: known_parameters(context.original_route)
        for context in iter_route_contexts(client.app.routes)  # type: ignore[attr-defined]
        if isinstance(context.original_route, APIRoute)
    }
    assert known["/v1/jobs/{job_id}/samples"]["label"] is True
    assert known["/v1/jobs/{job_id}/samples"]["n"] is False
    assert known["/v1/workers"] == {"limit": False, "cursor": False, "fields": False}


@pytest.mark.parametrize("step", ["9" * 17, "9" * 5_000, "-1", "1.5", "١"])
def test_an_invalid_step_is_404(client: TestClient, step: str) -> None:
    assert_problem(client.get(f"/v1/jobs/job_1/previews/{step}.png"), 404, "not-found")
