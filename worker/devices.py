"""Which devices this worker has, asked of NVIDIA's driver, so that torch and CUDA stay out of the worker's process.

`CUDA_VISIBLE_DEVICES` is honoured as CUDA does: numbers or UUIDs, in its order, up to the first that stands for
nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pynvml


def gpus(environ: Mapping[str, str] = os.environ) -> list[dict[str, Any]]:
    """The visible GPUs: {"index" (as CUDA counts), "name", "memory_bytes"}; empty where there is no driver."""
    with _nvml() as there:
        handles = _handles(environ.get("CUDA_VISIBLE_DEVICES")) if there else ()
        return [_describe(index, handle) for index, handle in enumerate(handles)]


def slots(environ: Mapping[str, str] = os.environ) -> list[str]:
    """The UUIDs of the visible GPUs: what `CUDA_VISIBLE_DEVICES` is to be for one worker each."""
    with _nvml() as there:
        handles = _handles(environ.get("CUDA_VISIBLE_DEVICES")) if there else ()
        return [_text(pynvml.nvmlDeviceGetUUID(handle)) for handle in handles]


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
    """Cores that this process may use; a container's or taskset's limit counts where the system tells it."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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
        return [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
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


def _describe(index: int, handle: Any) -> dict[str, Any]:
    name = _text(pynvml.nvmlDeviceGetName(handle))
    return {"index": index, "name": name, "memory_bytes": int(pynvml.nvmlDeviceGetMemoryInfo(handle).total)}


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
