"""The process that reads uploaded archives, with limits on memory, CPU time and file size, and without a network.

    python -m gan.uploads inspect ZIP
    python -m gan.uploads unpack ZIP FOLDER NAME [SIDE]

It writes lines of JSON: {"progress": ...}, {"preparation": ...}, and one last {"found": ...}, or
{"refused": [{file, code, detail}]}, or {"ended": ...} with a sentence about what kept it from finishing. A nonzero
exit code means that it did not finish.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from gan import sandbox
from gan.uploads import archive
from gan.uploads.problems import ArchiveRefusedError

_MEMORY_BYTES: Final = {"inspect": 1 * 2**30, "unpack": 3 * 2**30}
_CPU_SECONDS: Final = {"inspect": 60, "unpack": 3 * 3600}
_MAX_FILE_BYTES: Final = 5 * 2**30
_PROGRESS_SECONDS: Final = 0.5
# Training on the same machine has precedence.
_NICENESS: Final = 15


def main(arguments: Sequence[str]) -> int:
    """Run one command. Return 0, also if the archive is refused; 1 if the command did not finish."""
    os.nice(_NICENESS)
    command, zip_path = arguments[0], Path(arguments[1])
    try:
        found = _inspect(zip_path) if command == "inspect" else _unpack(zip_path, arguments[2:])
    except ArchiveRefusedError as error:
        _write("refused", [problem.to_json() for problem in error.problems])
    except MemoryError:
        _write("ended", f"It needed more memory than the {_MEMORY_BYTES[command] // 2**30} GiB that it may use.")
        return 1
    except OSError as error:
        _write("ended", f"The service could not read or write a file of it: {error.strerror or error}.")
        return 1
    else:
        _write("found", found)
    return 0


def _inspect(path: Path) -> dict[str, Any]:
    _enter_sandbox()
    _limit("inspect")
    contents = archive.read(path)
    return {"images": len(contents.files), "labels": list(contents.labels), "notes": list(contents.notes)}


def _unpack(path: Path, arguments: Sequence[str]) -> dict[str, Any]:
    folder, name = Path(arguments[0]), arguments[1]
    folder.mkdir(parents=True, exist_ok=True)
    _enter_sandbox(folder)
    # `inspect` does without Pillow and numpy. They are loaded before the memory limit is set.
    from gan.uploads.unpack import unpack  # noqa: PLC0415

    _limit("unpack")
    side = int(arguments[2]) if len(arguments) > 2 else None
    unpacked = unpack(
        path,
        folder,
        name,
        side,
        on_progress=_Progress(),
        on_preparation=lambda preparation: _write("preparation", asdict(preparation)),
    )
    return unpacked.to_json()


def _enter_sandbox(*folders: Path) -> None:
    """Cut this process off from the network, and restrict its writes to `folders`.

    An image may exploit a bug in its decoder; the sandbox limits the damage. Where the kernel does not support it,
    the resource limits and the permissions of the user still apply.
    """
    sandbox.leave_network()
    sandbox.write_only_in(folders)


def _limit(command: str) -> None:
    sandbox.limit(
        {
            resource.RLIMIT_AS: _MEMORY_BYTES[command],
            resource.RLIMIT_CPU: _CPU_SECONDS[command],
            resource.RLIMIT_FSIZE: _MAX_FILE_BYTES,
            resource.RLIMIT_NOFILE: 64,
            resource.RLIMIT_CORE: 0,
        }
    )


class _Progress:
    """A callback that writes the progress at most twice a second, and at the end of a phase."""

    def __init__(self) -> None:
        self._due = 0.0

    def __call__(self, phase: str, done: int, total: int) -> None:
        if done == total or time.monotonic() >= self._due:
            self._due = time.monotonic() + _PROGRESS_SECONDS
            _write("progress", {"phase": phase, "done": done, "total": total})


def _write(key: str, content: object) -> None:
    print(json.dumps({key: content}), flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
