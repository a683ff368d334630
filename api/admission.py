"""Admission: reject a job that no device could hold, before it is stored, instead of letting it fail later.

    limits of the fields (gan.spec.fields) -> the spec's memory bound (arithmetic) -> the sampler's estimate

The memory bound of most jobs fits any device, and nothing more is checked. Where the sampler does not respond, only
the first two checks count: the job is accepted, and may still fail with `out_of_memory`.
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

# No device has less memory.
_SMALLEST_DEVICE_BYTES: Final = 2 * 2**30
# The estimate itself is arithmetic on shapes. A longer wait means that the sampler is busy with something else.
_ESTIMATE_TIMEOUT_SECONDS: Final = 15.0


async def require_a_device_for(context: TenantContext, spec: TrainSpec) -> None:
    """Raise `OverLimitError` if `spec` needs more memory than the largest device on record has."""
    if max_memory_bytes(spec) <= _SMALLEST_DEVICE_BYTES:
        return
    info, largest = await run_in_threadpool(_dataset_and_memory, context, spec)
    if info is None or largest is None:
        return
    if max_memory_bytes(spec, image_size(spec, info)) + _bytes_of(info) <= largest:
        return
    try:
        async with asyncio.timeout(_ESTIMATE_TIMEOUT_SECONDS):
            needed = int((await context.sampler.estimate(spec, info))["memory_bytes"])
    except (UnavailableError, TimeoutError) as error:
        _log.warning("job accepted without an estimate of its memory", reason=str(error) or "timeout")
        return
    if needed > largest:
        raise OverLimitError(needed, largest)


def _dataset_and_memory(context: TenantContext, spec: TrainSpec) -> tuple[DatasetInfo | None, int | None]:
    """Return the data set and the bytes of the largest device; None for what is not there.

    A missing data set is no error here: the checks that follow report it.
    """
    with context.read() as s:
        largest = workers.largest_memory(s, with_gpu=spec.resources.gpus > 0)
        try:
            row = datasets.get(s, spec.dataset)
        except DatasetNotFoundError:
            return None, largest
        return (datasets.info(row) if row.status == datasets.READY else None), largest


def _bytes_of(info: DatasetInfo) -> int:
    return info.num_images * (info.channels * info.height * info.width + 8)
