"""`python -m tests.hostile.audit`: which pinned libraries have known weaknesses, by PyPI's advisories.

Exit code: 0 none is known; 1 some are; 2 nobody could be asked, which is said and is no all-clear.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CONSTRAINTS = Path(__file__).parents[2] / "constraints.txt"
_UNREACHED = ("ConnectionError", "ServiceError", "Max retries exceeded", "Failed to resolve", "Could not connect")


def main(pins: Path = CONSTRAINTS) -> int:
    """Ask, and say what was said."""
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
        print("PyPI's advisories cannot be reached from here: nothing is known of any library. Try again elsewhere.")
        return 2
    print(done.stderr, end="", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:])))
