"""Walls around a process that reads what strangers made, or trains what they want. Linux; elsewhere there are none.

A wall that this kernel cannot build is left out, and whoever asked for it is told so: the process does its work all
the same, as it would have done before there were such kernels.
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
_MAKING: Final = (
    *(FSAccess.MAKE_CHAR, FSAccess.MAKE_DIR, FSAccess.MAKE_REG, FSAccess.MAKE_SOCK, FSAccess.MAKE_FIFO),
    *(FSAccess.MAKE_BLOCK, FSAccess.MAKE_SYM, FSAccess.REMOVE_DIR, FSAccess.REMOVE_FILE),
)


def limit(limits: Mapping[int, int]) -> None:
    """Set each resource limit, or keep the hard one where that is lower; none can be raised again."""
    for what, most in limits.items():
        hard = resource.getrlimit(what)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (most, most))


def write_only_in(folders: Iterable[Path], files: Iterable[Path] = ()) -> bool:
    """From now on this thread and all that it starts write, make and remove nothing but in `folders`, and write to
    these `files`; what is open stays open. Whether there is such a wall: Landlock, Linux 5.13 or later.
    """
    if sys.platform != "linux":
        return False
    # The library takes an old error of another call for one of its own.
    ctypes.set_errno(0)
    try:
        writing, changing = _rights()
        wall = Ruleset(changing)
        for folder in folders:
            wall.allow(folder, rules=changing)
        for file in files:
            with suppress(FileNotFoundError):
                wall.allow(file, rules=writing)
        wall.apply()
    except LandlockError:
        return False
    return True


def leave_network() -> bool:
    """From now on this process reaches nobody, not even its own host. Whether that is so: Linux, where it may."""
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    # Root needs no user namespace for it, and anybody else does.
    return any(libc.unshare(flags) == 0 for flags in (_CLONE_NEWNET, _CLONE_NEWUSER | _CLONE_NEWNET))


def _rights() -> tuple[FSAccess, FSAccess]:
    """(to write a file, to change all that is in a folder), as far as this kernel knows them."""
    version = landlock_abi_version()
    writing = FSAccess.WRITE_FILE | (FSAccess.TRUNCATE if version >= 3 else FSAccess(0))
    changing = writing | (FSAccess.REFER if version >= 2 else FSAccess(0))
    for right in _MAKING:
        changing |= right
    return writing, changing
