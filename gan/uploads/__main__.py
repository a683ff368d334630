"""The process that reads what strangers made, with a limit to its memory, its time and its files, and no network.

    python -m gan.uploads inspect ZIP
    python -m gan.uploads unpack ZIP FOLDER NAME [SIDE]

Says what it finds in lines of JSON: {"progress": ...}, {"preparation": ...}, and one last {"found": ...} or
{"refused": [{file, code, detail}]}. An exit code other than 0 is an end before that line.
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
from gan.uploads.archive import ArchiveRefusedError

_MEMORY_BYTES: Final = {"inspect": 1 * 2**30, "unpack": 3 * 2**30}
_CPU_SECONDS: Final = {"inspect": 60, "unpack": 3 * 3600}
_MOST_WRITTEN_BYTES: Final = 5 * 2**30
_TOLD_EVERY_SECONDS: Final = 0.5
_LATER_THAN_TRAINING: Final = 15


def main(arguments: Sequence[str]) -> int:
    """Exit code 0, also for an archive that is refused."""
    # Whoever trains on this machine goes first.
    os.nice(_LATER_THAN_TRAINING)
    command, zip_path = arguments[0], Path(arguments[1])
    try:
        found = _inspect(zip_path) if command == "inspect" else _unpack(zip_path, arguments[2:])
    except ArchiveRefusedError as error:
        _say("refused", [problem.to_json() for problem in error.problems])
    else:
        _say("found", found)
    return 0


def _inspect(path: Path) -> dict[str, Any]:
    _shut()
    _limit("inspect")
    contents = archive.read(path)
    return {"images": len(contents.files), "labels": list(contents.labels)}


def _unpack(path: Path, arguments: Sequence[str]) -> dict[str, Any]:
    folder, name = Path(arguments[0]), arguments[1]
    folder.mkdir(parents=True, exist_ok=True)
    _shut(folder)
    # Pillow and numpy are not needed to inspect; and their memory is not the images'.
    from gan.uploads.unpack import unpack  # noqa: PLC0415

    _limit("unpack")
    os.nice(10)  # whoever trains on this machine goes first
    side = int(arguments[2]) if len(arguments) > 2 else None
    made = unpack(path, folder, name, side, tell=_Progress(), planned=lambda plan: _say("preparation", asdict(plan)))
    return made.to_json()


def _shut(*folders: Path) -> None:
    """Whatever a picture makes a decoder do, it reaches nobody, and writes nowhere but in `folders`."""
    # Where the kernel has no such walls, the limits below and the user's own rights are what there is.
    sandbox.leave_network()
    sandbox.write_only_in(folders)


def _limit(command: str) -> None:
    sandbox.limit(
        {
            resource.RLIMIT_AS: _MEMORY_BYTES[command],
            resource.RLIMIT_CPU: _CPU_SECONDS[command],
            resource.RLIMIT_FSIZE: _MOST_WRITTEN_BYTES,
            resource.RLIMIT_NOFILE: 64,
            resource.RLIMIT_CORE: 0,
        }
    )


class _Progress:
    """Says how far it is, twice a second and at the end of a phase."""

    def __init__(self) -> None:
        self._due = 0.0

    def __call__(self, phase: str, done: int, total: int) -> None:
        if done == total or time.monotonic() >= self._due:
            self._due = time.monotonic() + _TOLD_EVERY_SECONDS
            _say("progress", {"phase": phase, "done": done, "total": total})


def _say(what: str, content: object) -> None:
    print(json.dumps({what: content}), flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
