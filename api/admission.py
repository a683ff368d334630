"""Whether there is a device that could hold a job: asked before it is taken, so that it need not fail to be known.

    bounds of the spec's fields (gan.spec.fields) -> its ceiling (arithmetic) -> the estimate of its networks (the sampler)

Most jobs stay below their ceiling's worth of any device, and nobody is asked. Where the sampler does not answer, the
first two are all that is held against a job: it is taken, and may still fail with `out_of_memory`.
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog
from starlette.concurrency import run_in_threadpool

from api.context import TenantContext
from gan.spec import DatasetInfo, TrainSpec, image_size, max_memory_bytes
from jobs.errors import DatasetNotFoundError, OverLimitError, UnavailableError
from jobs.store import datasets, workers

_log = structlog.get_logger("gantry.admission")

# There is no device with less.
_SMALLEST_DEVICE_BYTES: Final = 2 * 2**30
# The estimate is arithmetic on shapes: who waits for longer waits for something else.
_PATIENCE_SECONDS: Final = 15.0


async def require_a_device_for(context: TenantContext, spec: TrainSpec) -> None:
    """Raise `OverLimitError` where `spec` needs more memory than the largest device on record has."""
    if max_memory_bytes(spec) <= _SMALLEST_DEVICE_BYTES:
        return
    info, largest = await run_in_threadpool(_looked_up, context, spec)
    if info is None or largest is None:
        return
    if max_memory_bytes(spec, image_size(spec, info)) + _bytes_of(info) <= largest:
        return
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            needed = int((await context.sampler.estimate(spec, info))["memory_bytes"])
    except (UnavailableError, TimeoutError) as error:
        _log.warning("a job is taken without an estimate of its memory", reason=str(error) or "it took too long")
        return
    if needed > largest:
        raise OverLimitError(needed, largest)


def _looked_up(context: TenantContext, spec: TrainSpec) -> tuple[DatasetInfo | None, int | None]:
    """The data set, and the memory of the largest device; None: of one that is not there others will tell."""
    with context.read() as s:
        largest = workers.largest_memory(s, with_gpu=spec.resources.gpus > 0)
        try:
            row = datasets.get(s, spec.dataset)
        except DatasetNotFoundError:
            return None, largest
        return (datasets.info(row) if row.status == datasets.READY else None), largest


def _bytes_of(info: DatasetInfo) -> int:
    return info.num_images * (info.channels * info.height * info.width + 8)
