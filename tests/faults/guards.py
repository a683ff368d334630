"""Guards that can be removed one at a time: a test that passes without its guard proves nothing.

`python -m tests.faults.guards FOLDER` runs the directed tests without each guard, and writes a report for each.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NoReturn

import pytest

from jobs import leases
from jobs.leases import JobRequests
from jobs.models import Job
from jobs.store import outbox

DIRECTED: Final = "tests/faults/test_directed.py"


def _fencing() -> None:
    """Let every attempt write, as if there were no fence."""

    def held_by_anyone(job_id: str, attempt: int) -> tuple[Any, ...]:
        return (Job.id == job_id,)

    _replace(leases, "_held_by", held_by_anyone)


def _republisher() -> None:
    """Do not send lost hints again."""

    def republish_nothing(*_: object) -> list[str]:
        return []

    _replace(outbox, "republish", republish_nothing)


def _order() -> None:
    """Register a checkpoint before the metrics that lead to it are committed."""
    from worker.trainer.checkpoints import CheckpointManager
    from worker.trainer.recorder import Recorder

    tick, save = Recorder.tick, CheckpointManager.save
    held: list[Callable[[], JobRequests]] = []

    def delayed_tick(self: Recorder, *args: Any) -> JobRequests:
        held.append(lambda: tick(self, *args))
        return JobRequests()

    def save_first(self: CheckpointManager, *args: Any, **kw: Any) -> None:
        save(self, *args, **kw)
        self.finish()
        while held:
            held.pop(0)()

    _replace(Recorder, "tick", delayed_tick)
    _replace(CheckpointManager, "save", save_first)


def _replace(owner: Any, name: str, by: Callable[..., object]) -> None:
    assert hasattr(owner, name), f"{owner} has no {name} to replace"
    setattr(owner, name, by)


GUARDS: Final[dict[str, Callable[[], None]]] = {
    "fencing": _fencing,
    "republisher": _republisher,
    "order": _order,
}


def main(folder: Path) -> None:
    """Run the tests once without each guard, in a child that is forked after all imports.

    torch's compiler is imported as well, because an optimizer imports it.
    """
    importlib.import_module("torch._dynamo")
    importlib.import_module("tests.faults.test_directed")
    for name in GUARDS:
        os.waitpid(os.fork() or _run_without(name, folder / f"{name}.xml"), 0)


def _run_without(name: str, report: Path) -> NoReturn:
    try:
        GUARDS[name]()
        quiet = ["-q", "-p", "no:xdist", "-p", "no:randomly", "-p", "no:cacheprovider", "-m", "not postgres"]
        pytest.main([*quiet, f"--junitxml={report}", DIRECTED])
        sys.stdout.flush()
    finally:
        os._exit(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
