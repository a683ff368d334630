"""How the process's allocator treats freed memory."""

from __future__ import annotations

import ctypes
from typing import Final

# From glibc's malloc.h: how much free memory is kept at the top; the size from which a block is mapped by itself.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_MB: Final = 2**20


def keep_freed() -> bool:
    """Keep freed memory, 256 MB of it, for what is allocated next; whether the C library can be told so.

    A forward pass allocates and frees the same megabytes each time. By default glibc hands them back to the kernel,
    which hands them out again page by page: 1,500 faults for 64 images, and a quarter of the time.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    # 32 MB is the most that glibc takes for the first.
    return bool(mallopt(_M_MMAP_THRESHOLD, 32 * _MB) and mallopt(_M_TRIM_THRESHOLD, 256 * _MB))
