"""`python -m worker.sampler`: the inference server, a private HTTP server that draws for the API.

One thread draws (`worker.sampler.batcher`); others encode the files, so that the next images are drawn meanwhile. The
number of waiting requests is limited; further ones get 503. On a CPU torch uses few threads, so that a trainer on the
same host keeps its cores.
"""

from __future__ import annotations

import asyncio
import dataclasses
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import structlog
import torch
import uvicorn
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gan.export import OnnxUnavailableError
from jobs.db import Database
from jobs.errors import (
    ArtifactLostError,
    CheckpointNotFoundError,
    DatasetAwayError,
    DatasetNotFoundError,
    GantryError,
    SamplerBusyError,
    SettingsError,
    UnavailableError,
)
from jobs.runtime.limiter import ConcurrencyLimiter
from jobs.runtime.settings import Settings, sampler_address
from jobs.runtime.startup import begin
from jobs.storage import open_storage
from worker.devices import cpu_name, usable_cores
from worker.sampler.batcher import Batcher
from worker.sampler.contact_sheets import ContactSheetRequest, ContactSheets
from worker.sampler.generators import DrawRequest, EstimateRequest, Generators
from worker.sampler.malloc import keep_freed

log = structlog.get_logger("gantry.sampler")

T = TypeVar("T")

_CPU_THREADS: Final = 2
_ENCODERS: Final = 2
# The API keeps an idle connection for 5 s. If both ended it at the same time, a request could be lost.
_KEEP_ALIVE_SECONDS: Final = 30
_BUSY: Final = "The sampler has too many requests waiting. Try again in a moment."
_MEDIA: Final = {"png": "image/png", "zip": "application/zip", "npz": "application/x-npz"}


class LimitedPool:
    """A pool of `threads` threads that accepts one request in work and `waiting` more."""

    def __init__(self, threads: int, waiting: int) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="gantry-sampler")
        self._limiter = ConcurrencyLimiter(waiting + 1, SamplerBusyError, _BUSY)

    def admit(self) -> AbstractContextManager[None]:
        """Return a context manager that admits one request. Raises `SamplerBusyError` at once if the pool is full."""
        return self._limiter.slot()

    async def run(self, work: Callable[[], T]) -> T:
        """Return the result of `work`, run in a thread of the pool. Call it inside `admit`."""
        return await asyncio.wrap_future(self._executor.submit(work))


def make_app(settings: Settings) -> Starlette:
    """Return the server's application. It opens no connection yet."""
    device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    name = f"cuda:0 {torch.cuda.get_device_name(0)}" if device.type == "cuda" else cpu_name()
    storage = open_storage(settings)
    db = Database(settings.database)
    generators, contact_sheets = (
        Generators(db, storage, settings.sampler_cache, device),
        ContactSheets(db, storage),
    )
    batcher, encoders = Batcher(generators), LimitedPool(_ENCODERS, settings.sampler_queue)
    # Pools of their own, so that an estimate does not wait behind images, an export or a contact sheet.
    exporters, estimators, sheet_makers = (LimitedPool(1, settings.sampler_queue) for _ in range(3))

    async def draw(request: Request) -> Response:
        drawing = DrawRequest.model_validate_json(await request.body())
        with encoders.admit():
            images = await batcher.draw(drawing)
            content = await encoders.run(lambda: generators.encode(drawing, images))
        return Response(content, media_type=_MEDIA[drawing.format])

    async def export(request: Request) -> Response:
        if (wanted := request.query_params.get("format")) != "onnx":
            raise ValueError(f"There is no format {str(wanted)[:50]!r} to export to. Use onnx.")
        checkpoint_id = request.query_params.get("checkpoint_id", "")
        with exporters.admit():
            data = await exporters.run(lambda: generators.export(checkpoint_id))
        return Response(data, media_type="application/octet-stream")

    async def estimate(request: Request) -> Response:
        asked = EstimateRequest.model_validate_json(await request.body())
        with estimators.admit():
            return JSONResponse(dataclasses.asdict(await estimators.run(lambda: generators.estimate(asked))))

    async def contact_sheet(request: Request) -> Response:
        drawing = ContactSheetRequest.model_validate_json(await request.body())
        with sheet_makers.admit():
            return Response(await sheet_makers.run(lambda: contact_sheets.draw(drawing)), media_type=_MEDIA["png"])

    async def healthz(request: Request) -> Response:
        return JSONResponse({"status": "alive", "device": name, "generators": len(generators)})

    return Starlette(
        routes=[
            Route("/draw", draw, methods=["POST"]),
            Route("/export", export),
            Route("/estimate", estimate, methods=["POST"]),
            Route("/contact-sheet", contact_sheet, methods=["POST"]),
            Route("/healthz", healthz),
        ],
        exception_handlers={
            CheckpointNotFoundError: _problem,
            DatasetNotFoundError: _problem,
            DatasetAwayError: _problem,
            ArtifactLostError: _problem,
            UnavailableError: _problem,
            OnnxUnavailableError: _no_export,
            ValueError: _invalid,
            torch.OutOfMemoryError: _no_memory,
        },
    )


async def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, GantryError)
    if isinstance(error, UnavailableError):
        return _response(503, error.code, str(error), retry_after=error.retry_after)
    if isinstance(error, ArtifactLostError):
        log.error("a file is missing or damaged", error=str(error))
        return _response(500, error.code, str(error))
    return _response(409 if isinstance(error, DatasetAwayError) else 404, error.code, str(error))


async def _no_export(request: Request, error: Exception) -> Response:
    return _response(501, "export-unavailable", str(error))


async def _invalid(request: Request, error: Exception) -> Response:
    first = error.errors()[0] if isinstance(error, ValidationError) else None
    detail = f"{'/'.join(str(part) for part in first['loc'])}: {first['msg']}" if first else str(error)
    return _response(422, "invalid-request", detail)


async def _no_memory(request: Request, error: Exception) -> Response:
    log.warning("the device is full; every generator was dropped", error=str(error))
    return _response(503, "sampler-busy", "The sampler's device is full at the moment.", retry_after=5)


def _response(status: int, code: str, detail: str, retry_after: int | None = None) -> Response:
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return JSONResponse({"code": code, "detail": detail}, status, headers)


def main() -> int:
    """Serve until SIGTERM or Ctrl-C. Returns the exit code: 0 after a clean stop, 2 if a setting is not usable."""
    settings = begin("sampler")
    try:
        where = _address(settings.sampler_url)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    keep_freed()
    torch.set_num_threads(min(_CPU_THREADS, max(1, usable_cores() // 2)))
    # After its clean stop uvicorn raises the signal again for the earlier handler, which must ignore it.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    log.info("sampler started", url=settings.sampler_url)
    app, idle = make_app(settings), _KEEP_ALIVE_SECONDS
    uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, timeout_keep_alive=idle, **where)).run()
    log.info("sampler stopped")
    return 0


def _address(url: str) -> dict[str, Any]:
    """Return uvicorn's arguments for the address `url`. Raises `SettingsError`."""
    _, path = sampler_address(url)
    if path is not None:
        return {"uds": path}
    parts = urlsplit(url)
    try:
        host, port = parts.hostname, parts.port or 80
    except ValueError:
        host, port = None, 0
    if parts.scheme != "http" or not host or parts.path:
        raise SettingsError(
            f"GANTRY_SAMPLER_URL is not usable: the sampler listens at http://HOST:PORT or unix:/PATH, not at {url}."
        )
    return {"host": host, "port": port}
