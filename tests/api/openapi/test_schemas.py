"""What generators of clients make of the schemas: requests without defaults, whole responses, files as bytes."""

from __future__ import annotations

import re

from api.openapi.responses import BYTES
from api.openapi.schemas import subschemas
from gan.spec import PRESETS, resolve
from tests.api.openapi.conftest import Json, named, operations


def _bodies(document: Json) -> set[str]:
    return named(document, [about["requestBody"] for about in operations(document) if "requestBody" in about])


def _responses(document: Json) -> set[str]:
    return named(document, [about["responses"] for about in operations(document)])


def test_a_client_sends_no_value_that_its_user_did_not_set(committed: Json) -> None:
    schemas, bodies = committed["components"]["schemas"], _bodies(committed)
    assert {"TrainSpecInput", "GeneratorSpecInput", "QuotasInput", "WebhookChange"} <= bodies
    inline = [
        media["schema"]
        for about in operations(committed)
        for media in about.get("requestBody", {}).get("content", {}).values()
    ]
    parameters = [p["schema"] for about in operations(committed) for p in about["parameters"]]
    for schema in [*(schemas[name] for name in bodies), *inline, *parameters]:
        assert not [part for part in subschemas(schema) if "default" in part], schema
    assert schemas["TrainSpecInput"]["required"] == ["dataset"]
    # What was sent: every default of the schema, which overrode the preset's values.
    assert resolve({"dataset": "fashion-mnist-mini", "preset": "dcgan"}).total_steps == 20_000


def test_the_default_of_a_field_is_told_in_words(committed: Json) -> None:
    schemas = committed["components"]["schemas"]
    fields = schemas["TrainSpecInput"]["properties"]
    assert "total_steps" in PRESETS["dcgan"].overrides
    assert fields["total_steps"]["description"].endswith("Default: the preset's value, or else 2000.")
    assert fields["max_attempts"]["description"].endswith("Default: 3.")
    assert fields["preset"]["description"].endswith("Default: cgan.")
    # An omitted field of these stays as it is.
    for name in ("QuotasInput", "WebhookChange"):
        assert not re.search("[Dd]efault", str(schemas[name])), name
    limit = next(p for p in committed["paths"]["/v1/jobs"]["get"]["parameters"] if p["name"] == "limit")
    assert limit["description"].endswith("Default: 50.")


def test_requests_and_responses_share_no_schema_with_fields(committed: Json) -> None:
    shared = _bodies(committed) & _responses(committed)
    assert all("enum" in committed["components"]["schemas"][name] for name in shared), shared


def test_a_response_has_all_of_its_fields(committed: Json) -> None:
    schemas = committed["components"]["schemas"]
    whole = {name for name in _responses(committed) if not name.startswith("Partial")} - {"Problem"}
    assert {"JobView", "TrainSpec", "GeneratorSpec", "Part"} <= whole
    for name in whole:
        assert set(schemas[name].get("properties", ())) == set(schemas[name].get("required", ())), name
        assert not [part for part in subschemas(schemas[name]) if "default" in part], name


def test_a_row_may_have_some_of_its_fields_only(committed: Json) -> None:
    schemas, thin = committed["components"]["schemas"], 0
    for about in operations(committed):
        if any(p["name"] == "fields" for p in about["parameters"]):
            page = about["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
            whole, partial = (
                one["$ref"].rpartition("/")[2] for one in schemas[page]["properties"]["data"]["items"]["anyOf"]
            )
            assert partial == f"Partial{whole}" and "required" not in schemas[partial]
            assert schemas[partial]["properties"] == schemas[whole]["properties"]
            thin += 1
    assert thin >= 12


def test_files_are_bytes_and_text_is_text(committed: Json) -> None:
    seen = set()
    for about in operations(committed):
        for response in about["responses"].values():
            for media, content in response.get("content", {}).items():
                if "json" not in media:
                    seen.add(media)
                    assert content["schema"] == ({"type": "string"} if media.startswith("text/") else BYTES), media
    assert {"image/png", "image/gif", "application/zip", "application/x-npz", "application/octet-stream"} <= seen
    samples = list(committed["paths"]["/v1/jobs/{job_id}/samples"]["get"]["responses"]["200"]["content"])
    # Generators take the first type that they know, and many know these two only.
    assert samples[0] == "image/png" and samples.index("application/octet-stream") < samples.index("application/json")


def test_a_map_has_property_names_that_generators_know(committed: Json) -> None:
    for schema in committed["components"]["schemas"].values():
        assert not [part for part in subschemas(schema) if "patternProperties" in part], schema


def test_operations_have_names_for_programs(committed: Json) -> None:
    names = [about["operationId"] for about in operations(committed)]
    assert len(names) == len(set(names)) and {"submit_job", "draw_samples", "receive_job_status"} <= set(names)
    assert not [name for name in names if not re.fullmatch("[a-z]+(_[a-z]+)+", name)]


def test_tags_servers_and_security_are_stated(committed: Json) -> None:
    used = {tag for about in operations(committed) for tag in about["tags"]}
    assert used == {tag["name"] for tag in committed["tags"]} and all(tag["description"] for tag in committed["tags"])
    assert [server["url"] for server in committed["servers"]] == ["/", "http://127.0.0.1:8000"]
    for path, methods in committed["paths"].items():
        for about in methods.values():
            assert about["security"] == ([] if path in ("/healthz", "/readyz") else [{"key": []}]), path


def test_no_parameter_repeats_what_openapi_says_otherwise(committed: Json) -> None:
    # OpenAPI ignores parameters of these names: media types and security say the same.
    names = {p["name"].lower() for about in operations(committed) for p in about["parameters"] if p["in"] == "header"}
    assert not names & {"accept", "content-type", "authorization"} and "prefer" in names
