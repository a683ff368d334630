"""`python -m tests.hostile.audit`: list the pinned libraries with known vulnerabilities, from PyPI's advisories.

Exit code: 0 without known vulnerabilities, 1 with some, 2 if the advisories could not be reached.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CONSTRAINTS = Path(__file__).parents[2] / "constraints.txt"
_UNREACHED = ("ConnectionError", "ServiceError", "Max retries exceeded", "Failed to resolve", "Could not connect")


def main(pins: Path = CONSTRAINTS) -> int:
    """Run pip-audit on `pins` and print its result. Return the exit code."""
    argv = [
        sys.executable,
        "-m",
        "pip_audit",
        "--progress-spinner=off",
        "--disable-pip",
        "--no-deps",
        "-r",
        str(pins),
    ]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    print(done.stdout, end="")
    if done.returncode == 0:
        return 0
    if any(word in done.stderr for word in _UNREACHED):
        print("PyPI's advisories cannot be reached from here, so nothing was checked. Try again elsewhere.")
        return 2
    print(done.stderr, end="", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:])))
