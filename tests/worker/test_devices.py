"""Which devices a worker names: with a driver, and without one."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from worker import devices


def test_without_a_visible_gpu_the_processor_is_named() -> None:
    nothing = {"CUDA_VISIBLE_DEVICES": ""}
    assert devices.gpus(nothing) == []
    (only,) = devices.inventory(nothing)
    assert only["name"] == devices.cpu_name() and only["memory_bytes"] > 0
    assert devices.device_name([]) == devices.cpu_name()


def test_a_number_that_stands_for_nothing_ends_the_list_as_in_cuda() -> None:
    assert devices.gpus({"CUDA_VISIBLE_DEVICES": "4096,0"}) == []
    assert devices.gpus({"CUDA_VISIBLE_DEVICES": "GPU-no-such-uuid"}) == []
    assert devices.gpus({"CUDA_VISIBLE_DEVICES": "-1"}) == []


def test_this_machine_whatever_it_has_is_described() -> None:
    for index, gpu in enumerate(devices.gpus()):
        assert gpu["index"] == index and gpu["name"]
        assert gpu["memory_bytes"] is None or gpu["memory_bytes"] > 0


def test_a_card_that_answers_no_question_is_named_all_the_same() -> None:
    # The library was not asked to begin, so that every question of it is an error.
    assert devices.describe(1, None) == {"index": 1, "name": "NVIDIA GPU", "memory_bytes": None}
    assert devices.slot(None) is None


def test_a_gpu_is_named_as_torch_would() -> None:
    h200 = {"index": 0, "name": "NVIDIA H200", "memory_bytes": 1}
    assert devices.device_name([h200]) == "cuda:0 NVIDIA H200"


def test_cores_are_those_that_the_process_may_use() -> None:
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
def test_a_containers_share_of_the_processor_is_read(cpu_max: str, cores: float | None) -> None:
    assert devices.quota_cores(cpu_max) == cores


@pytest.mark.parametrize(
    ("affinity", "quota", "cores"), [(4, None, 4), (4, 2.0, 2), (4, 2.5, 2), (2, 8.0, 2), (4, 0.01, 1)]
)
def test_the_narrower_limit_counts_and_one_core_is_left(affinity: int, quota: float | None, cores: int) -> None:
    assert devices.narrower(affinity, quota) == cores
