"""Requests about access to the service: keys, tenants and the audit log. They need an administrator's key."""

from __future__ import annotations

from gantry.arguments import as_list, path_of
from gantry.connection import Connection, Json


class AccessEndpoints(Connection):
    """Requests about keys, tenants and the audit log."""

    def create_key(self, body: Json) -> Json:
        """Create a key and return it. The service does not show the key itself again."""
        if "scopes" in body:
            body = {**body, "scopes": as_list(body["scopes"])}
        return self._json("POST", "/v1/keys", json=body)

    def keys(self, **query: str | int) -> Json:
        """Return a page of keys, newest first, without the keys themselves."""
        return self._json("GET", "/v1/keys", params=query)

    def rotate_key(self, key_id: str, overlap_seconds: float) -> Json:
        """Create a key that replaces another one, and return it. The old key stays valid for `overlap_seconds`."""
        return self._json("POST", path_of("keys", key_id, "rotate"), json={"overlap_seconds": overlap_seconds})

    def revoke_key(self, key_id: str) -> Json:
        """Revoke a key and return it, without the key itself."""
        return self._json("DELETE", path_of("keys", key_id))

    def tenants(self, **query: str | int) -> Json:
        """Return a page of tenants with their quotas and their usage."""
        return self._json("GET", "/v1/tenants", params=query)

    def limit_tenant(self, tenant: str, quotas: Json) -> Json:
        """Set quotas of a tenant and return it. A quota of None is no limit."""
        return self._json("PATCH", path_of("tenants", tenant), json=quotas)

    def acts(self, **query: str | int) -> Json:
        """Return a page of the audit log, newest first."""
        return self._json("GET", "/v1/audit", params=query)
