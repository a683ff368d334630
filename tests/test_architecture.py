"""The arrows of the house: a room may import what the tables say, and nothing else of this project or the world."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path, PurePath

import pytest

ROOT = Path(__file__).parent.parent

# Which of our own modules each place may import. The row of the file holds, else of the nearest folder.
ARROWS: dict[str, set[str]] = {
    # What the face and the record may see of learning is pydantic only; `gan.spec` is its one door.
    "gan/spec.py": {
        "gan.catalog",
        "gan.ceiling",
        "gan.closed",
        "gan.form",
        "gan.pointers",
        "gan.presets",
        "gan.problems",
        "gan.rules",
    },
    "gan/rules.py": {"gan.form", "gan.problems"},
    "gan/ceiling.py": {"gan.form"},
    "gan/form.py": {"gan.closed", "gan.presets", "gan.safeguards"},
    "gan/safeguards.py": {"gan.closed"},
    "gan/closed.py": set(),
    "gan/problems.py": {"gan.pointers"},
    "gan/pointers.py": set(),
    "gan/catalog.py": set(),
    "gan/presets.py": set(),
    # The process that reads what strangers made holds as little as can be.
    "gan/uploads/archive.py": set(),
    "gan/uploads/zipped.py": set(),
    "gan": {"gan"},
    "jobs": {"jobs", "gan.spec"},
    "worker": {"worker", "jobs", "gan"},
    "api": {"api", "jobs", "gan.spec"},
    "api/dataset_commands.py": {"api", "gan.uploads.zipped"},
    "api/browser_rules.py": set(),
    "api/protocol.py": set(),
    "api/listening.py": set(),
    # The dashboard is one more client of the public API; a process begins like every other.
    "api/ui/__main__.py": {"api.foreign_pages", "api.listening", "api.protocol", "api.ui", "jobs.startup"},
    "api/ui/server.py": {"api.ui", "api.browser_rules", "api.middleware"},
    "api/ui": {"api.ui", "api.assignments", "api.browser_rules", "api.client", "api.remedies"},
    "migrations": {"jobs"},
    # A record that has seen a lot is written at once; what is measured is asked over HTTP all the same.
    "benchmarks/filled.py": {"gan.spec", "jobs"},
    "benchmarks/api_load.py": {"benchmarks", "api.client", "api.listening", "jobs"},
    # Through the public door, as anybody would: a service is started, and asked over HTTP.
    "benchmarks": {"benchmarks", "gan", "api.client", "api.listening", "jobs.process"},
}

# Libraries of the world that a place must not touch. `worker/sampler.py` is the only web code of its room.
FORBIDDEN: dict[str, set[str]] = {
    "gan": {"sqlalchemy", "alembic", "celery", "kombu", "fastapi", "starlette", "uvicorn", "typer", "httpx2"},
    "jobs": {"torch", "fastapi", "starlette", "uvicorn", "typer", "httpx2"},
    "worker": {"fastapi", "typer", "sqlalchemy", "alembic"},
    "api": {"torch", "celery", "kombu", "sqlalchemy", "alembic", "nicegui"},
    "api/ui": {"torch", "celery", "kombu", "sqlalchemy", "alembic"},
    "migrations": {"torch", "fastapi", "starlette"},
    "benchmarks": {"sqlalchemy", "fastapi", "celery"},
    # The yardstick of the face is a route of the same framework.
    "benchmarks/bare.py": {"sqlalchemy", "celery", "torch"},
}
TORCH_FREE_OF_WORKER = {"worker/supervise.py", "worker/tasks.py", "worker/__main__.py", "worker/devices.py"}
ONLY_PYDANTIC = {place for place in ARROWS if place.startswith("gan/")}
WEB_OF_WORKER = "worker/sampler.py"


def violations(file: str, source: str) -> list[str]:
    """The imports in `source`, at the place `file`, that the tables above do not allow."""
    room = file.split("/")[0]
    allowed = _first(ARROWS, file)
    return [name for name in _imports(source) if not _fits(name, file, room, allowed)]


def _first(table: dict[str, set[str]], file: str) -> set[str]:
    """The row of the file itself, else of the nearest folder that it is in."""
    return next(table[place] for place in (file, *map(str, PurePath(file).parents)) if place in table)


def _fits(name: str, file: str, room: str, allowed: set[str]) -> bool:
    top = name.split(".")[0]
    if top in ARROWS:
        return any(name == place or name.startswith(place + ".") for place in allowed)
    if file in ONLY_PYDANTIC and top not in {"pydantic", "pydantic_core"} and top not in sys.stdlib_module_names:
        return False
    if top in {"starlette", "uvicorn"} and room == "worker":
        return file == WEB_OF_WORKER
    if top == "torch" and file in TORCH_FREE_OF_WORKER:
        return False
    return top not in _first(FORBIDDEN, file)


def _imports(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "no relative imports: a reader should see which room a name comes from"
            module = node.module or ""
            # `from gan import spec` is an import of gan.spec.
            whole_room = module in ARROWS
            yield from (f"{module}.{alias.name}" for alias in node.names) if whole_room else (module,)


def _files() -> list[str]:
    rooms = [place for place in ARROWS if "/" not in place]
    return sorted(str(path.relative_to(ROOT)) for room in rooms for path in (ROOT / room).rglob("*.py"))


@pytest.mark.parametrize("file", _files())
def test_every_file_keeps_to_its_rooms_arrows(file: str) -> None:
    assert violations(file, (ROOT / file).read_text()) == []


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("gan/train.py", "import jobs.store.jobs"),
        ("gan/train.py", "from worker import trainer"),
        ("gan/train.py", "import sqlalchemy"),
        ("gan/spec.py", "import torch"),
        ("gan/spec.py", "from gan import train"),
        ("gan/presets.py", "import numpy"),
        ("gan/rules.py", "import torch"),
        ("gan/form.py", "from gan.losses import LOSSES"),
        ("gan/train.py", "from benchmarks import quality"),
        ("jobs/store/jobs.py", "from gan.train import Trainer"),
        ("jobs/store/jobs.py", "from gan import presets"),
        ("jobs/leases.py", "import torch"),
        ("jobs/leases.py", "from fastapi import HTTPException"),
        ("jobs/leases.py", "def f() -> None:\n    import worker.supervise"),
        ("worker/trainer.py", "import api.app"),
        ("worker/trainer.py", "from starlette.applications import Starlette"),
        ("worker/supervise.py", "import torch"),
        ("worker/supervise.py", "from sqlalchemy import update"),
        ("api/routes/jobs.py", "import torch"),
        ("api/routes/jobs.py", "from sqlalchemy import select"),
        ("api/routes/jobs.py", "from worker.sampler import draw"),
        ("api/routes/jobs.py", "from gan.sample import Generator"),
        ("api/ui/pages/jobs.py", "from jobs.store import jobs"),
        ("api/ui/pages/jobs.py", "from api.views import job_view"),
        ("api/ui/pages/jobs.py", "import sqlalchemy"),
        ("api/app.py", "from nicegui import ui"),
        ("benchmarks/failures.py", "from jobs.store import jobs"),
        ("benchmarks/api_load.py", "from fastapi import FastAPI"),
        ("benchmarks/api_load.py", "from sqlalchemy import select"),
    ],
)
def test_a_broken_arrow_is_seen(file: str, line: str) -> None:
    assert violations(file, line) != []


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("api/app.py", "from gan.spec import resolve"),
        ("api/app.py", "from jobs.store import jobs"),
        ("api/ui/pages/jobs.py", "from api.client import Client"),
        ("api/ui/server.py", "from nicegui import ui"),
        ("worker/trainer.py", "from gan import train"),
        ("worker/sampler.py", "from starlette.applications import Starlette"),
        ("jobs/leases.py", "from sqlalchemy import update"),
        ("benchmarks/bare.py", "from fastapi import FastAPI"),
    ],
)
def test_an_arrow_of_the_house_is_let_through(file: str, line: str) -> None:
    assert violations(file, line) == []


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("api.app", "torch"),
        ("api.relay", "torch"),
        ("api.relay", "fastapi"),
        ("api.app", "nicegui"),
        ("api.cli", "torch"),
        ("api.ui.server", "torch"),
        ("api.ui.server", "sqlalchemy"),
        ("worker.supervise", "torch"),
        ("worker.__main__", "torch"),
        ("jobs.sweep", "torch"),
        ("worker.trainer", "fastapi"),
        ("worker.trainer", "starlette"),
        ("gan.train", "sqlalchemy"),
        ("gan.uploads.__main__", "PIL"),
        ("gan.uploads.unpack", "torch"),
        ("gan.uploads.unpack", "sqlalchemy"),
    ],
)
def test_what_a_process_does_not_load(module: str, absent: str) -> None:
    script = f"import sys, {module}; sys.exit({absent!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False).returncode == 0


def test_no_file_outgrows_its_concept() -> None:
    lengths = {file: len((ROOT / file).read_text().splitlines()) for file in _files()}
    assert {file: n for file, n in lengths.items() if n > 400} == {}


def test_every_package_says_it_is_one() -> None:
    # Without it, `import api` inside tests/api would find the tests.
    folders = {path.parent for room in [*ARROWS, "tests"] if "/" not in room for path in (ROOT / room).rglob("*.py")}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").exists()] == []
