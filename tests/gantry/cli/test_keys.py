"""`gantry keys`, `gantry tenants` and `gantry audit`."""

from __future__ import annotations

import json

from jobs.runtime.settings import Settings
from tests.gantry.command import gantry


def test_a_key_is_created_listed_rotated_and_revoked(served: Settings) -> None:
    created = gantry("keys", "create", "notebook", "--days", "2", settings=served)
    assert created.returncode == 0 and created.stdout.startswith("gan_live_")
    key = created.stderr.split(",")[0]
    listed = gantry("keys", "list", settings=served).stdout
    assert listed.splitlines()[0].split() == ["ID", "TENANT", "NAME", "SCOPES", "STATE"]
    (row,) = (row for row in listed.splitlines() if row.startswith(key))
    assert row.endswith("last used never") and "jobs:read,jobs:write,datasets:write" in row
    rotated = json.loads(gantry("keys", "rotate", key, "--json", settings=served).stdout)
    assert rotated["id"] != key and rotated["name"] == "notebook"
    assert gantry("keys", "revoke", key, settings=served).stdout == f"{key} is revoked.\n"
    (row,) = (row for row in gantry("keys", "list", settings=served).stdout.splitlines() if row.startswith(key))
    assert row.endswith("revoked")


def test_a_tenant_is_limited_and_listed(served: Settings) -> None:
    assert "of 800 queued" in gantry("tenants", "limit", "default", "--queued", "800", settings=served).stdout
    assert "of 800 queued" in gantry("tenants", "list", settings=served).stdout
    assert " of " not in gantry("tenants", "limit", "default", "--queued", "none", settings=served).stdout
    refused = gantry("tenants", "limit", "default", "--queued", "many", settings=served)
    assert refused.returncode == 2 and "takes a number or none" in refused.stderr


def test_the_audit_log_is_listed(served: Settings) -> None:
    key = json.loads(gantry("keys", "create", "audited", "--json", settings=served).stdout)["id"]
    (line,) = gantry("audit", "--subject", key, settings=served).stdout.splitlines()
    assert key in line and line.endswith("(default)")
