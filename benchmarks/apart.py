"""Runs in processes of their own, several at a time, with their results in a folder."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path


def all_apart(names: Sequence[str], command: Callable[[str], list[str]], at_once: int, threads: int) -> list[int]:
    """Run `python -m` with `command(name)` for each name. Returns the exit codes in the same order."""

    def one(name: str) -> int:
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        code = subprocess.run([sys.executable, "-m", *command(name)], env=environment, check=False).returncode
        if code:
            print(f"{name} ended with {code}", file=sys.stderr)
        return code

    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(one, names))


def folder(text: str) -> Path:
    """Return the folder named on the command line, created if it does not exist."""
    path = Path(text)
    path.mkdir(parents=True, exist_ok=True)
    return path
