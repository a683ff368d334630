"""The layout: which package may import which, what a process may load, and how large files and folders may grow."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path, PurePath

import pytest

ROOT = Path(__file__).parent.parent

# Which of our own modules each place may import. The row of the file counts, else that of the nearest folder.
ARROWS: dict[str, set[str]] = {
    # The client speaks HTTP; `gantry.local` starts processes of the service and imports none of them.
    "gantry": {"gantry"},
    # All that the API and the record may see of learning. It imports pydantic only.
    "gan/spec": {"gan.spec"},
    # The process that reads what strangers made imports as little as possible.
    "gan/uploads/archive.py": {"gan.uploads", "gan.spec.text"},
    "gan/uploads/zipped.py": {"gan.uploads.litter"},
    "gan": {"gan"},
    "jobs": {"jobs", "gan.spec"},
    "worker": {"worker", "jobs", "gan"},
    "api": {"api", "jobs", "gan.spec"},
    # The command line names the colours of the plots that the API draws.
    "api/samples/plots.py": {"gantry.palette", "jobs.curves", "jobs.errors", "jobs.runtime.limiter"},
    "api/http/security_headers.py": set(),
    "api/http/protocol.py": set(),
    # The dashboard is a client of the public API like any other; its process starts like those of the service.
    "api/ui/__main__.py": {"api.http.origin_guard", "api.http.protocol", "api.ui", "jobs.runtime"},
    "api/ui/server.py": {"api.ui", "api.http.security_headers", "api.http.middleware"},
    "api/ui": {"api.ui", "gantry", "api.http.security_headers"},
    "migrations": {"jobs"},
    # It writes a long history into the database at once; what is measured is asked over HTTP all the same.
    "benchmarks/filled.py": {"gan.spec", "jobs"},
    "benchmarks/api_load.py": {"benchmarks", "gantry", "jobs"},
    # It measures the functions of the record themselves.
    "benchmarks/fleet": {"benchmarks", "gan.spec", "jobs"},
    "benchmarks": {"benchmarks", "gan", "gantry", "jobs.runtime"},
}

_RECORD = {"sqlalchemy", "alembic", "celery", "kombu", "psycopg", "redis", "pydantic_settings", "structlog"}
_WEB = {"fastapi", "starlette", "uvicorn"}
# Libraries that a place must not import.
FORBIDDEN: dict[str, set[str]] = {
    "gantry": {"torch", "matplotlib", "nicegui", "numpy", "pydantic", "yaml", *_RECORD, *_WEB},
    # NumPy is an extra of the client, which this module alone needs.
    "gantry/arrays.py": {"torch", "matplotlib", "nicegui", "pydantic", "yaml", *_RECORD, *_WEB},
    "gan": {"typer", "httpx2", "sqlalchemy", "alembic", "celery", "kombu", *_WEB},
    "jobs": {"torch", "typer", "httpx2", *_WEB},
    "jobs/relay/webhooks": {"torch", "typer", *_WEB},
    "worker": {"fastapi", "typer", "sqlalchemy", "alembic"},
    "api": {"torch", "celery", "kombu", "sqlalchemy", "alembic", "nicegui"},
    "api/ui": {"torch", "celery", "kombu", "sqlalchemy", "alembic"},
    "migrations": {"torch", "fastapi", "starlette"},
    "benchmarks": {"sqlalchemy", "fastapi", "celery"},
    # The API is measured beside a bare route of the same framework.
    "benchmarks/bare.py": {"sqlalchemy", "celery", "torch"},
}
TORCH_FREE_OF_WORKER = {
    "worker/supervise.py",
    "worker/tasks.py",
    "worker/__main__.py",
    "worker/devices.py",
    "worker/trainer_process.py",
}
ONLY_PYDANTIC = (
    "gan/spec/",
    "gan/uploads/archive.py",
    "gan/uploads/codepages.py",
    "gan/uploads/layout.py",
    "gan/uploads/litter.py",
    "gan/uploads/names.py",
    "gan/uploads/problems.py",
    "gan/uploads/zipped.py",
)
WEB_OF_WORKER = "worker/sampler/server.py"
MOST_LINES, MOST_FILES = 400, 24


def violations(file: str, source: str) -> list[str]:
    """Return the imports in `source`, as the content of `file`, that the tables above do not allow."""
    room = file.split("/")[0]
    allowed = _first(ARROWS, file)
    return [name for name in _imports(source) if not _fits(name, file, room, allowed)]


def _first(table: dict[str, set[str]], file: str) -> set[str]:
    """Return the row of the file itself, else of the nearest folder that contains it."""
    return next(table[place] for place in (file, *map(str, PurePath(file).parents)) if place in table)


def _fits(name: str, file: str, room: str, allowed: set[str]) -> bool:
    top = name.split(".")[0]
    if top in ARROWS:
        return any(name == place or name.startswith(place + ".") for place in allowed)
    if (
        file.startswith(ONLY_PYDANTIC)
        and top not in {"pydantic", "pydantic_core"}
        and top not in sys.stdlib_module_names
    ):
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
        ("gantry/client.py", "from jobs.status import Status"),
        ("gantry/local/up.py", "from jobs.runtime import process"),
        ("gantry/cli/jobs.py", "def f() -> None:\n    from api.app import create_app"),
        ("gantry/remedies.py", "from gan.spec import put"),
        ("gantry/client.py", "import pydantic"),
        ("gantry/images.py", "import numpy"),
        ("gan/train.py", "import jobs.store.jobs"),
        ("gan/train.py", "from worker import trainer"),
        ("gan/train.py", "import sqlalchemy"),
        ("gan/train.py", "from gantry import Client"),
        ("gan/spec/resolve.py", "import torch"),
        ("gan/spec/resolve.py", "from gan import train"),
        ("gan/spec/presets.py", "import numpy"),
        ("gan/spec/rules.py", "import torch"),
        ("gan/spec/fields.py", "from gan.adversarial.losses import LOSSES"),
        ("gan/train.py", "from benchmarks import quality"),
        ("jobs/store/jobs.py", "from gan.train import Trainer"),
        ("jobs/store/jobs.py", "from gan import sample"),
        ("jobs/relay/sweeper.py", "from gantry import Client"),
        ("jobs/leases.py", "import torch"),
        ("jobs/leases.py", "from fastapi import HTTPException"),
        ("jobs/leases.py", "def f() -> None:\n    import worker.supervise"),
        ("worker/trainer/attempt.py", "import api.app"),
        ("worker/trainer/attempt.py", "from starlette.applications import Starlette"),
        ("worker/supervise.py", "import torch"),
        ("worker/supervise.py", "from sqlalchemy import update"),
        ("api/routes/jobs.py", "import torch"),
        ("api/routes/jobs.py", "from sqlalchemy import select"),
        ("api/routes/jobs.py", "from worker.sampler.server import draw"),
        ("api/routes/jobs.py", "from gan.sample import TrainedGenerator"),
        ("api/routes/jobs.py", "from gantry.client import Client"),
        ("api/ui/pages/jobs.py", "from jobs.store import jobs"),
        ("api/ui/pages/jobs.py", "from api.views import job_view"),
        ("api/ui/pages/jobs.py", "import sqlalchemy"),
        ("api/app.py", "from nicegui import ui"),
        ("benchmarks/failures.py", "from jobs.store import jobs"),
        ("benchmarks/api_load.py", "from fastapi import FastAPI"),
        ("benchmarks/api_load.py", "from sqlalchemy import select"),
    ],
)
def test_a_broken_arrow_is_found(file: str, line: str) -> None:
    assert violations(file, line) != []


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("api/app.py", "from gan.spec import resolve"),
        ("api/app.py", "from jobs.store import jobs"),
        ("api/ui/pages/jobs.py", "from gantry.client import Client"),
        ("api/ui/server.py", "from nicegui import ui"),
        ("gantry/cli/jobs.py", "import typer"),
        ("worker/trainer/attempt.py", "from gan import train"),
        ("worker/sampler/server.py", "from starlette.applications import Starlette"),
        ("jobs/leases.py", "from sqlalchemy import update"),
        ("benchmarks/bare.py", "from fastapi import FastAPI"),
    ],
)
def test_an_allowed_import_passes(file: str, line: str) -> None:
    assert violations(file, line) == []


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("api.app", "torch"),
        ("api.app", "nicegui"),
        ("jobs.relay.__main__", "torch"),
        ("jobs.relay.__main__", "fastapi"),
        ("gantry.cli.app", "torch"),
        ("gantry.cli.app", "numpy"),
        ("gantry.client", "numpy"),
        ("gantry.images", "numpy"),
        ("gantry.local.up", "sqlalchemy"),
        ("api.ui.server", "torch"),
        ("api.ui.server", "sqlalchemy"),
        ("worker.supervise", "torch"),
        ("worker.__main__", "torch"),
        ("jobs.relay.sweeper", "torch"),
        ("worker.trainer.attempt", "fastapi"),
        ("worker.trainer.attempt", "starlette"),
        ("gan.train", "sqlalchemy"),
        ("gan.spec", "numpy"),
        ("gan.uploads.__main__", "PIL"),
        ("gan.uploads.unpack", "torch"),
        ("gan.uploads.unpack", "sqlalchemy"),
    ],
)
def test_what_a_process_does_not_load(module: str, absent: str) -> None:
    script = f"import sys, {module}; sys.exit({absent!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False).returncode == 0


def test_no_file_is_longer_than_one_concept_needs() -> None:
    tests = [str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("*.py")]
    lengths = {file: len((ROOT / file).read_text().splitlines()) for file in [*_files(), *tests]}
    assert {file: n for file, n in lengths.items() if n > MOST_LINES} == {}


def test_no_folder_of_code_has_more_files_than_a_reader_takes_in() -> None:
    folders = [str(PurePath(file).parent) for file in _files()]
    assert {folder: n for folder in folders if (n := folders.count(folder)) > MOST_FILES} == {}


def test_every_package_has_an_init_file() -> None:
    # Without it, `import api` inside tests/api would find the tests.
    folders = {path.parent for room in [*ARROWS, "tests"] if "/" not in room for path in (ROOT / room).rglob("*.py")}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").exists()] == []


def test_no_two_classes_share_a_name() -> None:
    names: dict[str, list[str]] = {}
    for file in _files():
        for node in ast.walk(ast.parse((ROOT / file).read_text())):
            if isinstance(node, ast.ClassDef):
                names.setdefault(node.name, []).append(file)
    assert {name: files for name, files in names.items() if len(files) > 1} == {}


def test_every_exception_is_called_an_error() -> None:
    bases: dict[str, list[str]] = {}
    for file in _files():
        for node in ast.walk(ast.parse((ROOT / file).read_text())):
            if isinstance(node, ast.ClassDef):
                bases[node.name] = [ast.unparse(base).split("[")[0].split(".")[-1] for base in node.bases]
    raised = {"Exception", "ValueError", "RuntimeError", "OSError"}
    while more := {name for name, above in bases.items() if raised & set(above)} - raised:
        raised |= more
    assert [name for name in raised & bases.keys() if not name.endswith("Error")] == []
