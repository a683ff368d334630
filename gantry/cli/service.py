"""Commands that run the service, or one part of it, on this machine. Each part runs in its own process."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from gantry.cli.output import AsJson
from gantry.extras import require
from gantry.local.environment import service_environment

worker_app = typer.Typer(invoke_without_command=True, rich_markup_mode=None)


def up(
    port: Annotated[int | None, typer.Option(help="Port that the API listens on.  [default: 8000]")] = None,
    data: Annotated[Path | None, typer.Option(help="Data folder.  [default: gantry-data]")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.  [default: 127.0.0.1]")] = None,
) -> None:
    """Run the whole service on this machine. Ctrl-C stops it."""
    require("`gantry up`", "all")
    from gantry.local import up as service  # noqa: PLC0415
    from gantry.local.settings import load_settings  # noqa: PLC0415

    raise typer.Exit(service.run(load_settings(port=port, data_dir=data, host=host)))


def api() -> None:
    """Run only the HTTP API."""
    require("`gantry api`", "server")
    _replace_process("api")


def relay() -> None:
    """Run only the relay. It notifies workers and requeues the jobs of lost workers."""
    require("`gantry relay`", "server")
    _replace_process("jobs.relay")


def ui(
    api: Annotated[
        str | None, typer.Option("--api", metavar="URL", help="Address of the service.  [default: GANTRY_URL]")
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.  [default: 8002]")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.  [default: 127.0.0.1]")] = None,
) -> None:
    """Run only the dashboard, at /ui. Run one process of it, not several."""
    require("`gantry ui`", "ui")
    flags = {"--api": api, "--port": port, "--host": host}
    arguments = [word for flag, value in flags.items() if value is not None for word in (flag, str(value))]
    _replace_process("api.ui", *arguments)


@worker_app.callback()
def worker(context: typer.Context) -> None:
    """Run only a training worker. It runs one job at a time. `drain ID` stops a worker on any host."""
    if context.invoked_subcommand is None:
        require("`gantry worker`", "worker")
        _replace_process("worker")


def sampler() -> None:
    """Run only the sampler, which draws images for the API."""
    require("`gantry sampler`", "worker")
    _replace_process("worker.sampler")


def migrate() -> None:
    """Update the database's schema to this version. It is safe to repeat."""
    require("`gantry migrate`", "record")
    _replace_process("jobs", "migrate")


def settings(as_json: AsJson = False) -> None:
    """List every GANTRY_* variable. Print its value, its default and its meaning."""
    require("`gantry settings`", "record")
    _replace_process("jobs", "settings", *(["--json"] if as_json else []))


def openapi() -> None:
    """Print the OpenAPI document. It needs no running service."""
    require("`gantry openapi`", "server")
    _replace_process("api", "--openapi")


def doctor(
    data: Annotated[Path | None, typer.Option(help="Data folder.  [default: gantry-data]")] = None,
    as_json: AsJson = False,
) -> None:
    """Check each part that the settings name. The exit code is 1 if a part does not work."""
    require("`gantry doctor`", "record")
    from gantry.local import doctor as checks  # noqa: PLC0415
    from gantry.local.settings import load_settings  # noqa: PLC0415

    raise typer.Exit(checks.run(load_settings(data_dir=data), as_json=as_json))


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the pictures and the data.")] = Path("demo"),
) -> None:
    """Train the default job on this machine and save its pictures. It takes a minute or two."""
    require("`gantry demo`", "all")
    from gantry.local import demo as demonstration  # noqa: PLC0415

    raise typer.Exit(demonstration.run(out))


def first_key() -> None:
    """Create the first administrator's key, in the database itself. Run it on the service's machine."""
    require("`gantry keys first`", "record")
    _replace_process("jobs", "first-key")


def _replace_process(module: str, *arguments: str) -> NoReturn:
    """Replace this process by `python -m MODULE ARGUMENTS`, so that signals reach the module directly."""
    os.execve(sys.executable, [sys.executable, "-m", module, *arguments], service_environment())
