"""GET /metrics, for Prometheus: requests by route, and how many jobs stand where."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from prometheus_fastapi_instrumentator import Instrumentator
from starlette.responses import PlainTextResponse

from jobs.db import Database
from jobs.errors import DatabaseUnavailable
from jobs.store import jobs


class _Jobs(Collector):
    """Asks the record at each scrape."""

    def __init__(self, db: Callable[[], Database]) -> None:
        self._db = db

    def collect(self) -> Iterator[GaugeMetricFamily]:
        up = GaugeMetricFamily("gantry_database_up", "1 while the database answers.")
        by_status = GaugeMetricFamily("gantry_jobs", "Jobs on record, by status.", labels=["status"])
        try:
            with self._db().read() as s:
                counts = jobs.counts(s)
        except DatabaseUnavailable:
            up.add_metric([], 0)
        else:
            up.add_metric([], 1)
            for status, count in counts.items():
                by_status.add_metric([status], count)
        yield up
        yield by_status


def install(app: FastAPI, db: Callable[[], Database]) -> None:
    """Measure every route of `app`, and add /metrics."""
    registry = CollectorRegistry()
    registry.register(_Jobs(db))
    Instrumentator(registry=registry, excluded_handlers=["/metrics"]).instrument(app).expose(
        app, tags=["health"], response_class=PlainTextResponse, summary="For Prometheus"
    )
