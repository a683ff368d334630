"""A sandbox for a process that handles untrusted input: resource limits, no network, write access to few folders.

The restrictions need Linux. A function returns false if this kernel does not support its restriction; the process may
then continue without it.
"""

from __future__ import annotations

import ctypes
import resource
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from landlock import FSAccess, LandlockError, Ruleset, landlock_abi_version

_CLONE_NEWUSER: Final = 0x10000000
_CLONE_NEWNET: Final = 0x40000000
_CREATE_AND_REMOVE: Final = (
    *(FSAccess.MAKE_CHAR, FSAccess.MAKE_DIR, FSAccess.MAKE_REG, FSAccess.MAKE_SOCK, FSAccess.MAKE_FIFO),
    *(FSAccess.MAKE_BLOCK, FSAccess.MAKE_SYM, FSAccess.REMOVE_DIR, FSAccess.REMOVE_FILE),
)


def limit(limits: Mapping[int, int]) -> None:
    """Set soft and hard resource limits, such as `resource.RLIMIT_AS`; a lower hard limit stays as it is.

    The process cannot raise them again.
    """
    for kind, value in limits.items():
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))


def write_only_in(folders: Iterable[Path], files: Iterable[Path] = ()) -> bool:
    """Restrict this thread, and all threads and processes that it starts, to write in `folders` and to `files` only.

    Outside `folders` nothing can be created or removed. Files that are already open stay writable. Missing `files`
    are skipped. Return whether the restriction is in force; it needs Landlock (Linux 5.13 or later).
    """
    if sys.platform != "linux":
        return False
    # The library mistakes an errno that another call has left for an error of its own.
    ctypes.set_errno(0)
    try:
        write, change = _rights()
        ruleset = Ruleset(change)
        for folder in folders:
            ruleset.allow(folder, rules=change)
        for file in files:
            with suppress(FileNotFoundError):
                ruleset.allow(file, rules=write)
        ruleset.apply()
    except LandlockError:
        return False
    return True


def leave_network() -> bool:
    """Move this process into an empty network namespace, in which it reaches neither the network nor its own host.

    Return whether it worked; it needs Linux and a kernel that allows it to this user.
    """
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    # Root does not need a user namespace for this; other users do.
    return any(libc.unshare(flags) == 0 for flags in (_CLONE_NEWNET, _CLONE_NEWUSER | _CLONE_NEWNET))


def _rights() -> tuple[FSAccess, FSAccess]:
    """Return the rights (write to a file, change everything in a folder) that this kernel supports."""
    version = landlock_abi_version()
    write = FSAccess.WRITE_FILE | (FSAccess.TRUNCATE if version >= 3 else FSAccess(0))
    change = write | (FSAccess.REFER if version >= 2 else FSAccess(0))
    for right in _CREATE_AND_REMOVE:
        change |= right
    return write, change
