"""The commands that run the service, or a part of it, on this machine. Each part is a process of its own."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer

from gantry.cli.output import AsJson
from gantry.extras import require

SERVICE: Final = "Running the service"

worker_app = typer.Typer(invoke_without_command=True, rich_markup_mode=None)


def up(
    port: Annotated[int | None, typer.Option(help="Port the API listens on.  [default: 8000]")] = None,
    data: Annotated[Path | None, typer.Option(help="Data folder.  [default: gantry-data]")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.  [default: 127.0.0.1]")] = None,
) -> None:
    """Run the whole service on this machine; Ctrl-C stops it."""
    require("`gantry up`", "server", "worker", "ui")
    from gantry.local import up as service  # noqa: PLC0415
    from gantry.local.settings import load_settings  # noqa: PLC0415

    raise typer.Exit(service.run(load_settings(port=port, data_dir=data, host=host)))


def api() -> None:
    """Run the HTTP API alone."""
    _become("api", "server")


def relay() -> None:
    """Run the relay and sweeper alone. It wakes workers, and takes jobs back from lost ones."""
    _become("jobs.relay", "server")


def ui(
    api: Annotated[
        str | None, typer.Option("--api", metavar="URL", help="Where the service is.  [default: GANTRY_URL]")
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port it listens on.  [default: 8002]")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.  [default: 127.0.0.1]")] = None,
) -> None:
    """Run the dashboard alone, at /ui. Run only one process of it."""
    flags = {"--api": api, "--port": port, "--host": host}
    words = [word for flag, value in flags.items() if value is not None for word in (flag, str(value))]
    _become("api.ui", "ui", *words)


@worker_app.callback()
def worker(context: typer.Context) -> None:
    """Run a training worker alone, one job at a time. `drain ID` ends one, on whatever host it runs."""
    if context.invoked_subcommand is None:
        _become("worker", "worker")


def sampler() -> None:
    """Run the sampler alone: it draws images for the API."""
    _become("worker.sampler", "worker")


def migrate() -> None:
    """Bring the database's schema to this version. Safe to repeat."""
    _become("jobs", "server", "migrate")


def settings(as_json: AsJson = False) -> None:
    """List every GANTRY_* variable, with its value here. Also what it is, and its default."""
    _become("jobs", "server", "settings", *(["--json"] if as_json else []))


def openapi() -> None:
    """Print the OpenAPI document, for programs that write clients; it needs no service."""
    _become("api", "server", "--openapi")


def doctor(
    data: Annotated[Path | None, typer.Option(help="Data folder.  [default: gantry-data]")] = None,
    as_json: AsJson = False,
) -> None:
    """Check each part that the settings name. Exit 1 if one does not work."""
    require("`gantry doctor`", "server")
    from gantry.local import doctor as checks  # noqa: PLC0415
    from gantry.local.settings import load_settings  # noqa: PLC0415

    raise typer.Exit(checks.run(load_settings(data_dir=data), as_json=as_json))


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the pictures and the data.")] = Path("demo"),
) -> None:
    """Train the default job here, and save its pictures. It takes a minute or two."""
    require("`gantry demo`", "server", "worker", "ui")
    from gantry.local import demo as show  # noqa: PLC0415

    raise typer.Exit(show.run(out))


def first_key() -> None:
    """Make an administrator's key in the database itself if there is none yet; on the service's own machine."""
    _become("jobs", "server", "first-key")


def _become(module: str, extra: str, *words: str) -> NoReturn:
    """Replace this process by `python -m MODULE WORDS`, so that signals reach it directly.

    Raises `MissingExtraError` if `extra` is not installed.
    """
    require(f"`{' '.join(['gantry', *sys.argv[1:2]])}`", extra)
    os.execv(sys.executable, [sys.executable, "-m", module, *words])
