"""What no file of the house may do: run what it reads. Ruff sees to nearly all of it, and is held to it here."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("gantry", "gan", "jobs", "worker", "api", "migrations", "benchmarks")
BANNED = [
    "import pickle",
    "import marshal",
    "import joblib",
    "from torch.jit import load",
    "import torch; torch.export.load('x')",
    "import yaml; yaml.load('x', yaml.Loader)",
    "eval('x')",
    "exec('x')",
    "import subprocess; subprocess.run('x', shell=True)",
    "import os; os.system('x')",
    "import tempfile; tempfile.mktemp()",
    "import ssl; ssl._create_unverified_context()",
    "password = 'hunter2'",
]


def test_ruff_refuses_what_runs_what_it_reads() -> None:
    source = "\n".join(f"{line}  # line {number}" for number, line in enumerate(BANNED, 1))
    argv = [sys.executable, "-m", "ruff", "check", "--select=S,TID251", "--output-format=json"]
    argv += ["--stdin-filename", str(ROOT / "worker" / "not_there.py"), "-"]
    done = subprocess.run(argv, input=source, capture_output=True, text=True, check=False, cwd=ROOT)
    found = {entry["location"]["row"] for entry in json.loads(done.stdout)}
    assert [line for number, line in enumerate(BANNED, 1) if number not in found] == []


def loads(source: str) -> Iterator[bool]:
    """Of each torch.load: whether it says weights_only=True."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
            said = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            yield said.get("weights_only") == "True"


def test_every_checkpoint_is_read_as_weights_only() -> None:
    files = [path for room in PACKAGES for path in (ROOT / room).rglob("*.py")]
    found = {str(path.relative_to(ROOT)): list(loads(path.read_text())) for path in files}
    assert sum(map(len, found.values())) > 0
    assert [path for path, said in found.items() if not all(said)] == []


@pytest.mark.parametrize(
    "line", ["torch.load(p)", "torch.load(p, weights_only=False)", "torch.load(p, weights_only=x)"]
)
def test_one_that_does_not_say_so_is_seen(line: str) -> None:
    assert list(loads(line)) == [False]
