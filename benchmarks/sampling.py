"""`make sampling`: what it costs to have images drawn over HTTP, by the whole service on this machine.

A short default job is trained by a service of its own. Then, in turn and pair by pair: 64 new images over HTTP (API
process, sampler process), and the bare forward and `grid_png` of the same images in this process, on as many threads
as the sampler has; both must be the same bytes. This process has its allocator as Python starts it, the sampler keeps
freed memory (`worker/sampler/malloc.py`), which saves a quarter of a forward pass: that is measured, too. Then
the same request repeated, and many clients at once.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection
from itertools import count
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Final
from urllib.parse import urlsplit

import torch

from benchmarks import GOAL_MISSED
from benchmarks.served import service
from gan.sample import TrainedGenerator, grid_png
from gantry.client import Client

LIMIT: Final = 1.3
"""Of the ratio: the goal of the sampling service."""

_CLASSES: Final = 8
_EACH: Final = 8
_IMAGES: Final = _CLASSES * _EACH
_CLIENTS: Final = 16
_REQUESTS: Final = 6
_CROWDS: Final = 3
_WARM_UP: Final = 3


@dataclass(frozen=True)
class SamplingRow:
    """One figure: its median, and what half of the measurements lie between."""

    name: str
    unit: str
    value: float
    low: float
    high: float
    goal: str = ""

    def __str__(self) -> str:
        goal = f"; goal {self.goal}" if self.goal else ""
        return f"{self.name}: {self.value:.2f} {self.unit} ({self.low:.2f} to {self.high:.2f}){goal}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 when the median ratio is at most 1.3, else `GOAL_MISSED`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sampling", description=__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--threads", type=int, default=_sampler_threads())
    asked = parser.parse_args(arguments)
    rows = measure(asked.rounds, asked.steps, asked.threads)
    for row in rows:
        print(row, flush=True)
    print(f"half of the measurements in brackets; {asked.threads} threads of torch, {torch.__version__}")
    return GOAL_MISSED * (rows[0].value > LIMIT)


def measure(rounds: int, steps: int, threads: int) -> list[SamplingRow]:
    """Return the rows, the ratio first. Raises `AssertionError` if both ways give different bytes."""
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder, service(Path(folder), threads) as (client, url):
        job_id = _trained(client, steps)
        with closing(_Http(url)) as http:
            both = _Both(http, job_id)
            return [*_pairs(both, rounds), *_repeats(both, rounds), _crowd(url, both)]


class _Http:
    """One connection that is kept open, by the standard library: what it takes itself is a tenth of a millisecond."""

    def __init__(self, url: str) -> None:
        self._connection = HTTPConnection(urlsplit(url).netloc, timeout=120)

    def get(self, path: str, etag: str = "") -> tuple[int, str, bytes]:
        """Status, ETag and body. Raises `SystemExit` for a refusal."""
        self._connection.request("GET", path, headers={"If-None-Match": etag} if etag else {})
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status not in (200, 304):
            raise SystemExit(f"{path} was answered with {answer.status}: {body[:500]!r}")
        return answer.status, answer.headers.get("ETag", ""), body

    def close(self) -> None:
        self._connection.close()


class _Both:
    """The two ways to the same images, and seeds that nobody has asked for."""

    def __init__(self, http: _Http, job_id: str) -> None:
        checkpoint = json.loads(http.get(f"/v1/jobs/{job_id}/checkpoints")[2])["data"][0]["id"]
        self.http, self._path = http, f"/v1/jobs/{job_id}/samples?checkpoint={checkpoint}&n={_EACH}"
        weights = http.get(f"/v1/checkpoints/{checkpoint}/content?part=generator&format=safetensors")[2]
        self._generator = TrainedGenerator.load(weights)
        self._labels = self._generator.info.labels[:_CLASSES]
        self._seeds = count(1000, _EACH)

    def address(self) -> tuple[str, int]:
        """Return a request for 64 new images, and their first seed."""
        seed = next(self._seeds)
        labels = "".join(f"&label={class_id}" for class_id in range(_CLASSES))
        return f"{self._path}&seed={seed}{labels}", seed

    def served(self, address: str) -> bytes:
        """By the service."""
        return self.http.get(address)[2]

    def bare(self, seed: int) -> bytes:
        """By this process."""
        class_ids = [class_id for class_id in range(_CLASSES) for _ in range(_EACH)]
        images = self._generator.draw(class_ids, list(range(seed, seed + _EACH)) * _CLASSES)
        return grid_png(images, _CLASSES, self._labels)


def _pairs(both: _Both, rounds: int) -> Iterator[SamplingRow]:
    ratios, served, bare = [], [], []
    for number in range(-_WARM_UP, rounds):
        address, seed = both.address()
        turns = {"served": partial(both.served, address), "bare": partial(both.bare, seed)}
        order = list(turns) if number % 2 == 0 else list(turns)[::-1]
        found = {name: _timed(turns[name]) for name in order}
        assert found["served"][1] == found["bare"][1], "the service drew other bytes than the bare generator"
        if number >= 0:
            served.append(found["served"][0])
            bare.append(found["bare"][0])
            ratios.append(served[-1] / bare[-1])
    yield _row("64 new images over HTTP, against the bare forward and grid", "x", ratios, goal=f"at most {LIMIT}")
    yield _row("64 new images over HTTP", "ms", served)
    yield _row("the bare forward and grid of the same", "ms", bare)


def _repeats(both: _Both, rounds: int) -> Iterator[SamplingRow]:
    address, _ = both.address()
    _, etag, body = both.http.get(address)
    whole, unchanged = [], []
    for _ in range(rounds):
        milliseconds, again = _timed(partial(both.http.get, address))
        assert again == (200, etag, body)
        whole.append(milliseconds)
        milliseconds, none = _timed(partial(both.http.get, address, etag))
        assert none == (304, etag, b"")
        unchanged.append(milliseconds)
    yield _row("the same request again", "ms", whole)
    yield _row("the same request again, with If-None-Match", "ms", unchanged)


def _crowd(url: str, both: _Both) -> SamplingRow:
    """Images a second that 16 clients get together, one after the other each."""

    def one(addresses: Sequence[str]) -> None:
        with closing(_Http(url)) as http:
            for address in addresses:
                http.get(address)

    rates = []
    for _ in range(_CROWDS):
        wishes = [[both.address()[0] for _ in range(_REQUESTS)] for _ in range(_CLIENTS)]
        with ThreadPoolExecutor(_CLIENTS) as pool:
            began = time.perf_counter()
            list(pool.map(one, wishes))
            seconds = time.perf_counter() - began
        rates.append(_CLIENTS * _REQUESTS * _IMAGES / seconds)
    return _row(f"{_CLIENTS} clients at once", "images/s", rates)


def _trained(client: Client, steps: int) -> str:
    body = {"dataset": "fashion-mnist-mini", "total_steps": steps, "evaluation": {"enabled": False}}
    job = client.submit(body)
    last = list(client.watch(job["id"]))[-1]
    if last["status"] != "succeeded":
        raise SystemExit(f"The job {last['status']}.")
    return str(job["id"])


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Milliseconds, and what it returned."""
    began = time.perf_counter()
    made = work()
    return 1000 * (time.perf_counter() - began), made


def _row(name: str, unit: str, values: Sequence[float], goal: str = "") -> SamplingRow:
    low, _, high = quantiles(values, n=4, method="inclusive")
    return SamplingRow(name, unit, median(values), low, high, goal)


def _sampler_threads() -> int:
    """As many as the sampler takes on this machine."""
    return min(2, max(1, len(os.sched_getaffinity(0)) // 2))


if __name__ == "__main__":
    sys.exit(main())
