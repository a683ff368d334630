"""`python -m tests.hostile`: the whole matrix against a service of its own. Exit code 1 where something is wrong."""

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

MOST_SLOWED: Final = 0.10


def main(argv: Sequence[str]) -> int:
    """Run it; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.hostile", description="Every row of the bad-input matrix.")
    parser.add_argument("--quiet-seconds", type=float, default=10.0, help="How long each undisturbed stretch is.")
    parser.add_argument("--each", type=int, default=25, help="Rows between two of them.")
    asked = parser.parse_args(argv)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    rows = matrix()
    with tempfile.TemporaryDirectory(prefix="gantry-hostile-") as folder:
        outcome = barrage.run(
            rows, Path(folder), lambda line: print(line, flush=True), asked.quiet_seconds, asked.each
        )
    return report(outcome)


def report(outcome: RowOutcome) -> int:
    """Print what it came to; 1 where something is not right."""
    print(f"\n{len(outcome.answers)} rows, {len(outcome.wrong)} not answered as they are to be")
    for name, mb in sorted(outcome.memory.items()):
        print(f"  {name:24} {mb:6.0f} MB at most, of {BOUNDS_MB.get(name, 256)}")
    print(f"left on disk: {', '.join(outcome.left) or 'nothing'}; ended: {', '.join(outcome.lost) or 'no process'}")
    wall, share = outcome.slowed(lambda p: p.wall), outcome.slowed(lambda p: p.processor)
    steps = ", ".join(f"{q.wall:.0f} -> {b.wall:.0f}" for q, b in zip(outcome.quiet, outcome.busy, strict=True))
    print(f"the job that trains meanwhile, steps/s undisturbed -> disturbed: {steps}")
    print(f"  slower by {wall:+.1%} of time, {share:+.1%} of the processor time that it got")
    failures = [*outcome.wrong, *outcome.too_large, *outcome.left, *outcome.lost]
    if wall > MOST_SLOWED:
        failures.append(f"the job was slowed by {wall:.1%}; {MOST_SLOWED:.0%} is the most")
    for line in failures:
        print(f"WRONG {line}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
