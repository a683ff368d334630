"""The devices that a worker registers, with a driver and without one."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from worker import devices


def test_without_a_visible_gpu_the_inventory_is_the_cpu() -> None:
    nothing = {"CUDA_VISIBLE_DEVICES": ""}
    assert devices.gpus(nothing) == []
    (only,) = devices.inventory(nothing)
    assert only["name"] == devices.cpu_name() and only["memory_bytes"] > 0
    assert devices.device_name([]) == devices.cpu_name()


def test_an_invalid_number_ends_the_list_as_in_cuda() -> None:
    assert devices.gpus({"CUDA_VISIBLE_DEVICES": "4096,0"}) == []
    assert devices.gpus({"CUDA_VISIBLE_DEVICES": "GPU-no-such-uuid"}) == []
    assert devices.gpus({"CUDA_VISIBLE_DEVICES": "-1"}) == []


def test_the_gpus_of_this_machine_are_described() -> None:
    for index, gpu in enumerate(devices.gpus()):
        assert gpu["index"] == index and gpu["name"]
        assert gpu["memory_bytes"] is None or gpu["memory_bytes"] > 0


def test_a_gpu_whose_queries_fail_is_still_listed() -> None:
    # NVML is not initialised, so every query is an error.
    assert devices.describe(1, None) == {"index": 1, "name": "NVIDIA GPU", "memory_bytes": None}
    assert devices.slot(None) is None


def test_a_gpu_is_named_as_in_torch() -> None:
    h200 = {"index": 0, "name": "NVIDIA H200", "memory_bytes": 1}
    assert devices.device_name([h200]) == "cuda:0 NVIDIA H200"


def test_the_cores_are_those_of_the_process_affinity() -> None:
    one = sorted(os.sched_getaffinity(0))[0]
    code = f"import os; os.sched_setaffinity(0, {{{one}}}); from worker import devices; print(devices.cpu_name())"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "cpu (1 core)"


@pytest.mark.parametrize(
    ("cpu_max", "cores"),
    [
        ("max 100000\n", None),
        ("200000 100000\n", 2.0),
        ("150000 100000", 1.5),
        ("1000 100000", 0.01),
        ("100000 0", None),
        ("", None),
        ("what", None),
    ],
)
def test_the_cpu_quota_of_a_container_is_read(cpu_max: str, cores: float | None) -> None:
    assert devices.quota_cores(cpu_max) == cores


@pytest.mark.parametrize(
    ("affinity", "quota", "cores"), [(4, None, 4), (4, 2.0, 2), (4, 2.5, 2), (2, 8.0, 2), (4, 0.01, 1)]
)
def test_the_smaller_limit_counts_and_is_at_least_one_core(affinity: int, quota: float | None, cores: int) -> None:
    assert devices.narrower(affinity, quota) == cores
