"""A whole service of real processes, started as an operator starts them, on either profile."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from jobs.runtime.process import end_all, spawn
from jobs.runtime.settings import Settings
from tests.ports import free_port

START_SECONDS = 180
JOB_SECONDS = 240

# A conditional DCGAN small enough for a test: the default's shape, a fraction of its width.
TINY: dict[str, Any] = {
    "dataset": "fashion-mnist-mini",
    "total_steps": 40,
    "batch_size": 16,
    "generator": {"base_channels": 4, "z_dim": 8},
    "discriminator": {"base_channels": 4},
    "previews": {"every_steps": 20, "per_class": 2},
    "checkpoints": {"every_steps": 10},
    "evaluation": {"enabled": False},
}
# Judged now and then, by few images, and looked at as often.
JUDGED: dict[str, Any] = {
    "evaluation": {"every_steps": 20, "images": 100},
    "safeguards": {"every_steps": 20, "thresholds": {"warm_up_images": 0}},
}


@dataclass
class Service:
    """A running service: its settings, an HTTP client, and its processes by name."""

    settings: Settings
    http: httpx2.Client
    processes: dict[str, subprocess.Popen[bytes]]
    logs: Path

    def submit(self, **body: Any) -> dict[str, Any]:
        """POST a tiny job; its body."""
        answer = self.http.post("/v1/jobs", json={**TINY, **body})
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def job(self, job_id: str) -> dict[str, Any]:
        """GET the job."""
        return dict(self.http.get(f"/v1/jobs/{job_id}").raise_for_status().json())

    def wait(self, job_id: str, *, until: tuple[str, ...] = ("succeeded", "failed", "cancelled")) -> dict[str, Any]:
        """Poll until the job has one of these statuses; fails with what the service's logs say."""
        return self.until(job_id, lambda job: job["status"] in until)

    def until(self, job_id: str, seen: Any, seconds: float = JOB_SECONDS) -> dict[str, Any]:
        """Poll until `seen(job)`; fails with what the service's logs say."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            job = self.job(job_id)
            if seen(job):
                return job
            time.sleep(0.1)
        raise AssertionError(f"still waiting: {self.job(job_id)}\n{self.tail()}")

    def curve(self, job_id: str) -> dict[str, list[list[float]]]:
        """Every point of both losses."""
        query: dict[str, Any] = {"names": "loss_d,loss_g", "reduce": "none", "max_points": 10_000}
        return dict(
            self.http.get(f"/v1/jobs/{job_id}/metrics/series", params=query).raise_for_status().json()["series"]
        )

    def tail(self) -> str:
        """Return the last lines of every log."""
        return "\n".join(f"== {log.name}\n" + log.read_text()[-3000:] for log in sorted(self.logs.glob("*.log")))


@contextmanager
def running(settings: Settings, logs: Path) -> Iterator[Service]:
    """Start API, relay, worker and sampler as processes, and end them afterwards."""
    sampler_port, api_port = free_port(), free_port()
    settings = settings.model_copy(update={"port": api_port, "sampler_url": f"http://127.0.0.1:{sampler_port}"})
    logs.mkdir(exist_ok=True)
    with ExitStack() as stack:
        processes: dict[str, subprocess.Popen[bytes]] = {}
        stack.callback(lambda: end_all((process, 40) for process in processes.values()))
        for name in ("api", "relay", "worker", "sampler"):
            processes[name] = start(name, settings, logs)
        http = stack.enter_context(httpx2.Client(base_url=f"http://127.0.0.1:{api_port}", timeout=60))
        service = Service(settings, http, processes, logs)
        _until_ready(service, f"http://127.0.0.1:{sampler_port}/healthz")
        yield service


def start(name: str, settings: Settings, logs: Path) -> subprocess.Popen[bytes]:
    """`gantry NAME`, as an operator starts it."""
    environment = {**os.environ, **settings.environment()}
    with (logs / f"{name}.log").open("ab") as log:
        argv = [str(Path(sys.executable).parent / "gantry"), name]
        return spawn(argv, env=environment, stdout=log, stderr=log)


def _until_ready(service: Service, sampler: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            workers = service.http.get("/v1/workers").json()["data"]
            if service.http.get("/readyz").status_code == 200 and workers and httpx2.get(sampler).status_code == 200:
                return
        except (httpx2.TransportError, KeyError):
            pass
        time.sleep(0.1)
    raise AssertionError(f"the service did not come up\n{service.tail()}")
