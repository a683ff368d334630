"""`python -m tests.hostile.fuzz`: run schemathesis on a new service that requires keys, stateful, with all checks.

The database is SQLite, or a new one on the PostgreSQL server that FUZZ_POSTGRES_URL names. The workers are drained
first, so that no generated job is trained.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from tests import servers
from tests.hostile.barrage import AUTH_ON, service
from tests.hostile.target import Target

_ROOT: Final = Path(__file__).parents[2]
# The number of requests with boundary values of fields, and the number of operations that get further examples.
_BOUNDARY_CASES: Final = 1_400
_OPERATIONS: Final = 30


def main(argv: Sequence[str]) -> int:
    """Run schemathesis. Returns its exit code: 0 if it found nothing."""
    parser = argparse.ArgumentParser(prog="python -m tests.hostile.fuzz", description="schemathesis, all checks.")
    parser.add_argument("--cases", type=int, default=5_000, help="About how many requests.")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args(argv)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gantry-fuzz-")))
        variables = {**AUTH_ON}
        if server := os.environ.get("FUZZ_POSTGRES_URL"):
            variables["GANTRY_DATABASE_URL"] = stack.enter_context(servers.database(server))
        target, _ = stack.enter_context(service(folder, variables))
        drain_workers(target)
        return run(target, max(1, (asked.cases - _BOUNDARY_CASES) // _OPERATIONS), asked.seed)


def drain_workers(target: Target) -> None:
    """Drain every worker, so that no job is claimed."""
    for worker in target.http.get("/v1/workers").json()["data"]:
        target.http.post(f"/v1/workers/{worker['id']}/drain").raise_for_status()


def run(target: Target, examples: int, seed: int, *words: str) -> int:
    """Run `st run` with `examples` for each operation. Return its exit code."""
    argv = [
        str(Path(sys.executable).parent / "st"),
        "run",
        f"{target.url}/openapi.json",
        "--checks=all",
        "--exclude-checks=positive_data_acceptance,negative_data_rejection",
    ]
    argv += ["--phases=examples,coverage,fuzzing,stateful", f"--max-examples={examples}", f"--seed={seed}"]
    argv += [
        "--suppress-health-check=all",
        "--generation-database=none",
        "--request-timeout=60",
        "--max-response-time=60",
        "--no-color",
    ]
    argv += [f"--header={name}:{value}" for name, value in target.headers.items()]
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "tests.hostile.checks", "PYTHONPATH": str(_ROOT)}
    with tempfile.TemporaryDirectory(prefix="gantry-fuzz-") as scratch:
        return subprocess.run([*argv, *words], check=False, env=environment, cwd=scratch).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
