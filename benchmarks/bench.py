"""`make bench`: every figure of speed, one benchmark after the other, and docs/performance.md.

What is written is what the commands print, on which machine and when: a section a command, between two marks.
Sections that were not measured again are kept, and so is what stands around the marks.
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

import torch

from benchmarks import GOAL_MISSED
from gan.adversarial.precision import precision_on

PARTS: Final[dict[str, list[str]]] = {
    "The training step beside the peers'": ["benchmarks.training"],
    "How near it is to what the machine can do": ["benchmarks.ceiling"],
    "A job's start": ["benchmarks.start"],
    "What it costs the default job to be kept by the service": ["benchmarks.service_cost"],
    "Images": ["benchmarks.sampling"],
    "The API under load": ["benchmarks.api_load"],
    "The API while four jobs train": [
        *("benchmarks.api_load", "--jobs-training", "4", "--jobs", "1000", "--points", "10000", "--postgres", "")
    ],
}
_PAGE: Final = Path("docs/performance.md")
_HEADING: Final = "### "
_BEGIN, _END = "<!-- measured: begin -->\n", "<!-- measured: end -->\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks and write the page. Returns 0 if all ran, whether or not their goals are met."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench", description=__doc__)
    parser.add_argument("--page", type=Path, default=_PAGE)
    parser.add_argument("--parts", default=",".join(PARTS), help="titles, separated by commas")
    asked = parser.parse_args(arguments)
    for title in asked.parts.split(","):
        command = PARTS[title]
        replace(
            asked.page, title, f"`python -m {shlex.join(command)}`\n\n{_machine()}\n\n```\n{_printed(command)}```\n"
        )
    return 0


def _printed(command: Sequence[str]) -> str:
    """Return what `python -m COMMAND` prints, and print it as it comes."""
    argv = [sys.executable, "-m", *command]
    lines = []
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    # The figures also show whether a goal is met.
    if process.returncode not in (0, GOAL_MISSED) or not lines:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}.")
    return "".join(lines)


def replace(page: Path, title: str, section: str) -> None:
    """Replace the section `title` between the marks of the page. Raises `ValueError` if the page has no marks."""
    before, begin, rest = page.read_text(encoding="utf-8").partition(_BEGIN)
    told, end, after = rest.partition(_END)
    if not (begin and end):
        raise ValueError(f"{page} has no marks to write between: {_BEGIN.strip()} and {_END.strip()}.")
    sections = dict(text.split("\n\n", 1) for text in told.split(_HEADING)[1:])
    sections[title] = f"{section}\n"
    told = "".join(f"{_HEADING}{name}\n\n{sections[name]}" for name in PARTS if name in sections)
    page.write_text(f"{before}{_BEGIN}\n{told}{_END}{after}", encoding="utf-8")


def _machine() -> str:
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "fastapi", "sqlalchemy", "celery"))
    cores = len(os.sched_getaffinity(0))
    day = datetime.now(UTC).date().isoformat()
    has = f"{torch.backends.cpu.get_cpu_capability()}, {precision_on('auto', torch.device('cpu'))} by default"
    return f"{day}; {platform.machine()}, {cores} cores, {has}; Python {platform.python_version()}, {packages}."


if __name__ == "__main__":
    sys.exit(main())
