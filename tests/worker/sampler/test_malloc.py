"""Freed memory is kept, so that the next allocation causes no page faults."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

_FAULTS = """
import resource, sys, threading
from worker.sampler.malloc import keep_freed
if sys.argv[1] == "keep":
    assert keep_freed()

def work():
    for _ in range(50):
        blocks = [b"x" * (8 * 2**20) for _ in range(3)]
        del blocks

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

before = faults()
work()
thread = threading.Thread(target=work)
thread.start()
thread.join()
print(faults() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's allocator has the options")
def test_freed_memory_is_reused() -> None:
    def faults(how: str) -> int:
        argv = [sys.executable, "-c", _FAULTS, how]
        return int(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)

    pages = 3 * 8 * 2**20 // 4096
    assert faults("keep") < 4 * pages < 40 * pages < faults("leave")
