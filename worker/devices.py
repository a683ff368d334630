"""Which devices this worker has, asked of NVIDIA's driver, so that torch and CUDA stay out of the worker's process.

`CUDA_VISIBLE_DEVICES` is honoured as CUDA does: numbers or UUIDs, in its order, up to the first that stands for
nothing.
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
    """The visible GPUs: {"index" (as CUDA counts), "name", "memory_bytes"}; empty where there is no driver."""
    with _nvml() as there:
        handles = _handles(environ.get("CUDA_VISIBLE_DEVICES")) if there else ()
        return [describe(index, handle) for index, handle in enumerate(handles)]


def slots(environ: Mapping[str, str] = os.environ) -> list[str]:
    """Of each visible GPU what `CUDA_VISIBLE_DEVICES` is to be for its worker: its UUID, or else its number."""
    with _nvml() as there:
        handles = _handles(environ.get("CUDA_VISIBLE_DEVICES")) if there else ()
        return [word for handle in handles if (word := slot(handle)) is not None]


def inventory(environ: Mapping[str, str] = os.environ) -> list[dict[str, Any]]:
    """What a worker announces: its GPUs, or else its processor."""
    return gpus(environ) or [{"index": 0, "name": cpu_name(), "memory_bytes": _memory()}]


def device_name(found: list[dict[str, Any]]) -> str:
    """The device that a job of this worker gets, of what `gpus` found: "cuda:0 NVIDIA H200" or "cpu (2 cores)"."""
    return f"cuda:0 {found[0]['name']}" if found else cpu_name()


def cpu_name() -> str:
    """Such as "cpu (2 cores)": cores that this process may use."""
    cores = usable_cores()
    return f"cpu ({cores} core{'s' if cores > 1 else ''})"


def usable_cores() -> int:
    """Cores that this process may use, whole ones, 1 at the least: taskset's and a container's (cgroup v2) limits
    count.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    # A container sees its own group here; outside of one there is no such file.
    quota = quota_cores(_CPU_MAX.read_text(encoding="ascii")) if _CPU_MAX.is_file() else None
    return narrower(cores, quota)


def quota_cores(cpu_max: str) -> float | None:
    """How many cores' time cgroup v2's `cpu.max` ("QUOTA PERIOD", us) grants; None: as much as there is."""
    quota, _, period = cpu_max.strip().partition(" ")
    if not (quota.isdecimal() and period.isdecimal() and int(period)):
        return None
    return int(quota) / int(period)


def narrower(cores: int, quota: float | None) -> int:
    """Whole cores of `cores` that a quota (None: there is none) leaves, 1 at the least."""
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
    """What a worker tells of this card. A slice of one (MIG) or a Jetson does not answer every question."""
    name = _asked(lambda: _text(pynvml.nvmlDeviceGetName(handle))) or "NVIDIA GPU"
    memory = _asked(lambda: int(pynvml.nvmlDeviceGetMemoryInfo(handle).total))
    return {"index": index, "name": name, "memory_bytes": memory}


def slot(handle: Any) -> str | None:
    """What stands for this card in `CUDA_VISIBLE_DEVICES`; None where the driver does not tell."""
    uuid = _asked(lambda: _text(pynvml.nvmlDeviceGetUUID(handle)))
    return uuid or _asked(lambda: str(pynvml.nvmlDeviceGetIndex(handle)))


def _asked(question: Callable[[], T]) -> T | None:
    """What the driver answers; None where it does not."""
    try:
        return question()
    except pynvml.NVMLError:
        return None


def _text(name: bytes | str) -> str:
    # NVML's bindings answer in bytes or in text, by their age.
    return name.decode() if isinstance(name, bytes) else name


def _memory() -> int | None:
    """Bytes of main memory; None where the system does not tell."""
    if "SC_PHYS_PAGES" not in os.sysconf_names:
        return None
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


if __name__ == "__main__":
    # For `gantry up`, which starts a worker a GPU and may not import this room.
    print("\n".join(slots()))
