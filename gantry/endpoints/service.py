"""Requests about the service itself: presets, the schema of a job, workers, readiness."""

from __future__ import annotations

from gantry.arguments import path_of
from gantry.connection import MAX_PAGE_ITEMS, Connection, Json


class ServiceEndpoints(Connection):
    """Requests about the service itself."""

    def presets(self) -> Json:
        """Return a page of presets, the default first."""
        return self._json("GET", "/v1/presets", params={"limit": MAX_PAGE_ITEMS})

    def preset(self, name: str) -> Json:
        """Return a preset."""
        return self._json("GET", path_of("presets", name))

    def schema(self) -> Json:
        """Return the JSON Schema of the body of a job."""
        return self._json("GET", "/v1/schemas/job")

    def workers(self, **query: str | int) -> Json:
        """Return a page of workers."""
        return self._json("GET", "/v1/workers", params=query)

    def drain(self, worker_id: str) -> Json:
        """Ask a worker to save its job's checkpoint, give the job back and stop. Return the worker."""
        return self._json("POST", path_of("workers", worker_id, "drain"))

    def ready(self) -> Json:
        """Return the readiness of the service. Raises `ApiError`, which names the part that does not work."""
        return self._json("GET", "/readyz")
