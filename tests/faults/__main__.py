"""`python -m tests.faults`: storms and recovery times, as `make faults` prints them. Exit code 1 on any violation."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, get_args

from tests.faults import recovery, storm
from tests.faults.fleet import Profile
from tests.faults.storm import StormOutcome, StormPlan

SIZES: Final[dict[Profile, tuple[int, int]]] = {"embedded": (60, 80), "production": (200, 300)}
"""Jobs and faults of a full run."""


def main(argv: Sequence[str]) -> int:
    """Run the storms and measurements that `argv` selects. Return the exit code: 1 on any violation."""
    asked = _arguments(argv)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    profiles: list[Profile] = list(get_args(Profile)) if asked.profile == "both" else [asked.profile]
    violations = []
    with _lines(asked.out) as say:
        for profile in profiles:
            if asked.jobs != 0:
                violations += _storm(profile, asked, say)
            _recovery(profile, asked.repeats, say)
        for line in violations:
            say(f"VIOLATION {line}")
    return 1 if violations else 0


def _storm(profile: Profile, asked: argparse.Namespace, say: Callable[[str], None]) -> list[str]:
    jobs, faults = SIZES[profile]
    jobs, faults = jobs if asked.jobs is None else asked.jobs, faults if asked.faults is None else asked.faults
    chosen = StormPlan(profile, jobs, faults, asked.seed, doubles_allowed=asked.doubles_allowed)
    say(f"{profile}: {jobs} jobs, {faults} faults, seed {asked.seed}")
    with tempfile.TemporaryDirectory(prefix="gantry-storm-") as folder:
        outcome = storm.run(chosen, Path(folder), say)
        if asked.keep and outcome.violations:
            kept = Path(tempfile.mkdtemp(prefix="gantry-kept-"))
            Path(folder).rename(kept / profile)
            Path(folder).mkdir()
            say(f"its files are kept in {kept / profile}")
    say(table(outcome))
    return outcome.violations


def _recovery(profile: Profile, repeats: int, say: Callable[[str], None]) -> None:
    if repeats == 0:
        return
    say(f"{profile}: recovery on a quiet service")
    with tempfile.TemporaryDirectory(prefix="gantry-recovery-") as folder:
        for measured in recovery.measure(profile, Path(folder), repeats):
            say(str(measured))


def table(outcome: StormOutcome) -> str:
    """Return the figures of a storm, one per line."""
    found = outcome.history
    assert found is not None
    kinds = ", ".join(f"{name} {count}" for name, count in sorted(outcome.struck.items()))
    rows = {
        "profile": outcome.plan.profile,
        "seed": outcome.plan.seed,
        "jobs accepted": f"{outcome.accepted} of {outcome.plan.jobs}; {outcome.repeats} requests repeated",
        "faults": f"{outcome.struck.total()}: {kinds}",
        "of these in mid-training": outcome.in_mid_training,
        "attempts": found.attempts,
        "jobs in exactly one terminal status": f"{found.ended_once} of {found.jobs}",
        "steps missing, doubled": f"{found.steps_missing}, {found.steps_doubled}",
        "results bit-equal": f"{found.bit_equal} of {found.finished} that succeeded",
        "orphan processes, files": f"{len(outcome.orphan_processes)}, {found.orphan_files}",
        "violations": len(outcome.violations),
        "time": f"{outcome.seconds:.0f} s",
    }
    return "\n".join(f"  {name:<36}{value}" for name, value in rows.items())


@contextlib.contextmanager
def _lines(out: Path | None) -> Iterator[Callable[[str], None]]:
    """Yield a function that prints a line and appends it to the file `out`."""
    with contextlib.ExitStack() as stack:
        file = None if out is None else stack.enter_context(out.open("a"))

        def say(line: str) -> None:
            print(line, flush=True)
            if file is not None:
                print(line, file=file, flush=True)

        yield say


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--profile", choices=[*get_args(Profile), "both"], default="both")
    parser.add_argument("--jobs", type=int, help="0: no storm (default: 60 embedded, 200 production)")
    parser.add_argument("--faults", type=int, help="(default: 80 embedded, 300 production)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5, help="measurements of each recovery; 0: none (default: 5)")
    parser.add_argument("--out", type=Path, help="a file to append every line to")
    parser.add_argument("--keep", action="store_true", help="keep the folder of a storm with violations")
    parser.add_argument(
        "--doubles-allowed",
        action="store_true",
        help="accept doubled jobs, for a service that ignores Idempotency-Key",
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
