"""`python -m tests.hostile`: send the whole matrix to a new service. Exit code 1 on any failure."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.hostile import barrage
from tests.hostile.barrage import BOUNDS_MB, RowOutcome
from tests.hostile.rows import matrix

MAX_SLOWDOWN: Final = 0.10


def main(argv: Sequence[str]) -> int:
    """Run the matrix. Return the exit code: 0 or 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.hostile", description="Every row of the bad-input matrix.")
    parser.add_argument(
        "--quiet-seconds", type=float, default=10.0, help="Duration of each phase without bad input, s."
    )
    parser.add_argument("--each", type=int, default=25, help="Rows between two such phases.")
    asked = parser.parse_args(argv)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    rows = matrix()
    with tempfile.TemporaryDirectory(prefix="gantry-hostile-") as folder:
        outcome = barrage.run(
            rows, Path(folder), lambda line: print(line, flush=True), asked.quiet_seconds, asked.each
        )
    return report(outcome)


def report(outcome: RowOutcome) -> int:
    """Print the results. Return 1 if anything failed, else 0."""
    print(f"\n{len(outcome.answers)} rows, {len(outcome.wrong)} with an unexpected answer")
    for name, mb in sorted(outcome.memory.items()):
        print(f"  {name:24} {mb:6.0f} MB at most; the limit is {BOUNDS_MB.get(name, 256)}")
    print(f"files left on disk: {', '.join(outcome.leftover_files) or 'none'}")
    print(f"processes that ended: {', '.join(outcome.ended_processes) or 'none'}")
    wall, share = outcome.slowed(lambda p: p.wall), outcome.slowed(lambda p: p.processor)
    steps = ", ".join(f"{q.wall:.0f} -> {b.wall:.0f}" for q, b in zip(outcome.quiet, outcome.busy, strict=True))
    print(f"the job that trains meanwhile, steps/s without -> with bad input: {steps}")
    print(f"  slower by {wall:+.1%} in steps per second, {share:+.1%} in steps per CPU second")
    failures = [*outcome.wrong, *outcome.over_memory_bounds, *outcome.leftover_files, *outcome.ended_processes]
    if wall > MAX_SLOWDOWN:
        failures.append(f"the job was slower by {wall:.1%}; the limit is {MAX_SLOWDOWN:.0%}")
    for line in failures:
        print(f"FAILED {line}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
