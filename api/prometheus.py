"""GET /metrics, for Prometheus: requests by route, and jobs by status."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final

from fastapi import FastAPI
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.context import Admin
from jobs.db import Database
from jobs.errors import DatabaseUnavailableError
from jobs.store import jobs

_PATH: Final = "/metrics"
_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class _JobsCollector(Collector):
    """The jobs by status, counted in the database at each scrape."""

    def __init__(self, db: Callable[[], Database]) -> None:
        self._db = db

    def collect(self) -> Iterator[GaugeMetricFamily]:
        up = GaugeMetricFamily("gantry_database_up", "1 while the database responds.")
        by_status = GaugeMetricFamily("gantry_jobs", "Jobs in the database, by status.", labels=["status"])
        try:
            with self._db().read() as s:
                counts = jobs.count_by_status(s)
        except DatabaseUnavailableError:
            up.add_metric([], 0)
        else:
            up.add_metric([], 1)
            for status, count in counts.items():
                by_status.add_metric([status], count)
        yield up
        yield by_status


class _RequestMetrics:
    """The count of requests, and the time until each response begins (a stream may never end).

    The label is the route that the router has found. The usual libraries match the routes a second time, which
    doubles the time of routing.
    """

    def __init__(self, app: ASGIApp, registry: CollectorRegistry) -> None:
        self.app = app
        labels = ("handler", "method", "status")
        self._requests = Counter("http_requests", "Requests by route, method and status.", labels, registry=registry)
        self._seconds = Histogram(
            "http_request_duration_seconds",
            "Seconds until the response begins, by route and method.",
            ("handler", "method"),
            registry=registry,
            buckets=_SECONDS,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status, seconds = time.perf_counter(), 500, None

        async def measure(message: Message) -> None:
            nonlocal status, seconds
            if message["type"] == "http.response.start":
                status, seconds = message["status"], time.perf_counter() - started
            await send(message)

        try:
            await self.app(scope, receive, measure)
        finally:
            handler, method = getattr(scope.get("route"), "path", "none"), scope["method"]
            if handler != _PATH:
                self._requests.labels(handler, method, f"{status // 100}xx").inc()
                self._seconds.labels(handler, method).observe(seconds or time.perf_counter() - started)


def install(app: FastAPI, db: Callable[[], Database]) -> None:
    """Measure every route of `app`, and add the route /metrics."""
    registry = CollectorRegistry()
    registry.register(_JobsCollector(db))
    app.add_middleware(_RequestMetrics, registry=registry)

    @app.get(_PATH, tags=["health"], response_class=PlainTextResponse, summary="Metrics for Prometheus")
    def get_prometheus_metrics(context: Admin) -> Response:
        """Return counts of requests and jobs, in Prometheus' text format."""
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)
