"""The devices of this worker, read from NVIDIA's driver (NVML), so that the worker loads neither torch nor CUDA.

`CUDA_VISIBLE_DEVICES` counts as it does for CUDA: numbers or UUIDs, in its order, up to the first that names no
device.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import pynvml

T = TypeVar("T")

_CPU_MAX: Final = Path("/sys/fs/cgroup/cpu.max")


def gpus(environ: Mapping[str, str] = os.environ) -> list[dict[str, Any]]:
    """Return the visible GPUs as {"index" (CUDA's), "name", "memory_bytes"}; empty if there is no driver."""
    with _nvml() as loaded:
        handles = _handles(environ.get("CUDA_VISIBLE_DEVICES")) if loaded else ()
        return [describe(index, handle) for index, handle in enumerate(handles)]


def slots(environ: Mapping[str, str] = os.environ) -> list[str]:
    """Return the value of `CUDA_VISIBLE_DEVICES` for the worker of each visible GPU: its UUID, else its number."""
    with _nvml() as loaded:
        handles = _handles(environ.get("CUDA_VISIBLE_DEVICES")) if loaded else ()
        return [word for handle in handles if (word := slot(handle)) is not None]


def inventory(environ: Mapping[str, str] = os.environ) -> list[dict[str, Any]]:
    """Return the devices that a worker registers: its GPUs, or its CPU if it has none."""
    return gpus(environ) or [{"index": 0, "name": cpu_name(), "memory_bytes": _memory()}]


def device_name(found: list[dict[str, Any]]) -> str:
    """Return the name of the device for jobs, given the result of `gpus`: "cuda:0 NVIDIA H200", "cpu (2 cores)"."""
    return f"cuda:0 {found[0]['name']}" if found else cpu_name()


def cpu_name() -> str:
    """Return a name such as "cpu (2 cores)", with the cores that this process may use."""
    cores = usable_cores()
    return f"cpu ({cores} core{'s' if cores > 1 else ''})"


def usable_cores() -> int:
    """Return the number of whole cores that this process may use, at least 1.

    Limits of taskset and of a container (cgroup v2) count.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    # A container sees its own group here. Outside of a container this file does not exist.
    quota = quota_cores(_CPU_MAX.read_text(encoding="ascii")) if _CPU_MAX.is_file() else None
    return narrower(cores, quota)


def quota_cores(cpu_max: str) -> float | None:
    """Return the cores that cgroup v2's `cpu.max` ("QUOTA PERIOD", in us) grants; None if it sets no limit."""
    quota, _, period = cpu_max.strip().partition(" ")
    if not (quota.isdecimal() and period.isdecimal() and int(period)):
        return None
    return int(quota) / int(period)


def narrower(cores: int, quota: float | None) -> int:
    """Return `cores`, or the whole cores of `quota` if that is fewer, but at least 1."""
    return cores if quota is None else max(1, min(cores, int(quota)))


@contextmanager
def _nvml() -> Iterator[bool]:
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        yield False
        return
    try:
        yield True
    finally:
        pynvml.nvmlShutdown()


def _handles(visible: str | None) -> Iterable[Any]:
    if visible is None:
        opened = (_handle(str(i)) for i in range(pynvml.nvmlDeviceGetCount()))
        return [handle for handle in opened if handle is not None]
    found = []
    for word in (part.strip() for part in visible.split(",")):
        handle = _handle(word)
        if handle is None:
            break
        found.append(handle)
    return found


def _handle(word: str) -> Any:
    try:
        if word.isdecimal():
            return pynvml.nvmlDeviceGetHandleByIndex(int(word))
        return pynvml.nvmlDeviceGetHandleByUUID(word)
    except pynvml.NVMLError:
        return None


def describe(index: int, handle: Any) -> dict[str, Any]:
    """Return what a worker registers about this GPU. A MIG slice or a Jetson leaves some values out."""
    name = _query(lambda: _text(pynvml.nvmlDeviceGetName(handle))) or "NVIDIA GPU"
    memory = _query(lambda: int(pynvml.nvmlDeviceGetMemoryInfo(handle).total))
    return {"index": index, "name": name, "memory_bytes": memory}


def slot(handle: Any) -> str | None:
    """Return the value that names this GPU in `CUDA_VISIBLE_DEVICES`; None if the driver gives none."""
    uuid = _query(lambda: _text(pynvml.nvmlDeviceGetUUID(handle)))
    return uuid or _query(lambda: str(pynvml.nvmlDeviceGetIndex(handle)))


def _query(call: Callable[[], T]) -> T | None:
    """Return the result of an NVML call; None if the driver refuses it."""
    try:
        return call()
    except pynvml.NVMLError:
        return None


def _text(name: bytes | str) -> str:
    # Older NVML bindings return bytes, newer ones text.
    return name.decode() if isinstance(name, bytes) else name


def _memory() -> int | None:
    """Return the size of main memory in bytes; None if the system does not report it."""
    if "SC_PHYS_PAGES" not in os.sysconf_names:
        return None
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


if __name__ == "__main__":
    # For `gantry up`, which starts one worker for each GPU and imports nothing of the worker.
    print("\n".join(slots()))
