"""`make bench`: every figure of speed, one benchmark after the other, and docs/performance.md.

What is written is what the commands print, between two marks; what stands around them is kept.
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

from benchmarks import GOAL_MISSED

PARTS: Final[dict[str, list[str]]] = {
    "The training step beside the peers'": ["benchmarks.training"],
    "A job's start": ["benchmarks.start"],
    "What it costs the default job to be kept by the service": ["benchmarks.service_cost"],
    "Images": ["benchmarks.sampling"],
    "The API under load": ["benchmarks.api_load"],
    "The API while four jobs train": [
        *("benchmarks.api_load", "--jobs-training", "4", "--jobs", "1000", "--points", "10000", "--postgres", "")
    ],
}
_PAGE: Final = Path("docs/performance.md")
_BEGIN, _END = "<!-- measured: begin -->\n", "<!-- measured: end -->\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 when all could be measured, whether or not their goals are met."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench", description=__doc__)
    parser.add_argument("--page", type=Path, default=_PAGE)
    parser.add_argument("--parts", default=",".join(PARTS), help="titles, separated by commas; others are left out")
    asked = parser.parse_args(arguments)
    sections = [_machine()]
    for title in asked.parts.split(","):
        command = PARTS[title]
        sections.append(f"### {title}\n\n`python -m {shlex.join(command)}`\n\n```\n{_printed(command)}```\n")
        replace(asked.page, "\n".join(sections))
    return 0


def _printed(command: Sequence[str]) -> str:
    """What `python -m` of it prints; on the terminal too, as it comes."""
    argv = [sys.executable, "-m", *command]
    lines = []
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    # Whether a goal is met, the figures say too.
    if process.returncode not in (0, GOAL_MISSED) or not lines:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}.")
    return "".join(lines)


def replace(page: Path, figures: str) -> None:
    """Put `figures` between the page's marks. Raises `ValueError` where it has none."""
    before, begin, rest = page.read_text(encoding="utf-8").partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not (begin and end):
        raise ValueError(f"{page} has no marks to write between: {_BEGIN.strip()} and {_END.strip()}.")
    page.write_text(f"{before}{_BEGIN}\n{figures}\n{_END}{after}", encoding="utf-8")


def _machine() -> str:
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "fastapi", "sqlalchemy", "celery"))
    cores = len(os.sched_getaffinity(0))
    day = datetime.now(UTC).date().isoformat()
    return f"{day}; {platform.machine()}, {cores} cores, Python {platform.python_version()}, {packages}.\n"


if __name__ == "__main__":
    sys.exit(main())
