"""The command `gantry`. Errors are one sentence on stderr; exit 1, or 2 when a setting cannot be.

What is slow to load (the database, the server) is imported by the command that needs it, so that
`gantry --help` answers at once.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer
from typer.core import TyperGroup

from api import commands, dataset_commands, fetch_commands, key_commands, webhook_commands
from api.client import ApiError, BadSetting, Unreachable

SERVICE: Final = "Running the service"
HELP: Final = """Gantry trains GANs for people who ask over HTTP.

Begin with `gantry up` in one terminal, and in another:
`gantry submit --dataset fashion-mnist-mini --watch`.

GANTRY_URL says where the service is. --json prints for programs.
Exit codes: 0 succeeded, 1 failed or refused, 2 asked wrongly, 130 interrupted."""


class Sections(TyperGroup):
    """Commands under two headings, in the order of this file."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        limit = formatter.width - 4 - max(map(len, self.commands))
        for heading in (commands.JOBS, SERVICE):
            rows = [
                (name, command.get_short_help_str(limit))
                for name, command in self.commands.items()
                if getattr(command, "rich_help_panel", None) == heading
            ]
            with formatter.section(heading):
                formatter.write_dl(rows)


app = typer.Typer(
    name="gantry",
    help=HELP,
    cls=Sections,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)
for command in (
    commands.submit, commands.jobs, commands.show, commands.watch, commands.events,
    fetch_commands.samples, fetch_commands.curves, fetch_commands.previews, fetch_commands.weights,
    commands.pause, commands.resume, commands.cancel, commands.retry, commands.delete,
    commands.presets, commands.workers,
):  # fmt: skip
    app.command(rich_help_panel=commands.JOBS)(command)
app.add_typer(dataset_commands.app, name="datasets", rich_help_panel=commands.JOBS)
app.add_typer(webhook_commands.app, name="webhooks", rich_help_panel=commands.JOBS)

app.add_typer(key_commands.keys, name="keys", rich_help_panel=SERVICE)
app.add_typer(key_commands.tenants, name="tenants", rich_help_panel=SERVICE)
app.command(rich_help_panel=SERVICE)(key_commands.audit)
worker_app = typer.Typer(invoke_without_command=True, rich_markup_mode=None)
worker_app.command()(commands.drain)
app.add_typer(worker_app, name="worker", rich_help_panel=SERVICE)


@app.command(rich_help_panel=SERVICE)
def up(
    port: Annotated[int | None, typer.Option(help="Port the API listens on.  [default: 8000]")] = None,
    data: Annotated[Path | None, typer.Option(help="Data folder.  [default: gantry-data]")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.  [default: 127.0.0.1]")] = None,
) -> None:
    """Run the whole service on this machine; Ctrl-C stops it."""
    from api import up as service  # noqa: PLC0415

    settings = _settings(port=port, data_dir=data, host=host)
    try:
        raise typer.Exit(service.run(settings))
    except service.UpError as error:
        fail(str(error))


@app.command(rich_help_panel=SERVICE)
def api() -> None:
    """Run the HTTP API alone."""
    _become("api")


@app.command(rich_help_panel=SERVICE)
def relay() -> None:
    """Run the relay and sweeper alone. It wakes workers, and takes jobs back from lost ones."""
    _become("api.relay")


@app.command(rich_help_panel=SERVICE)
def ui(
    api: Annotated[
        str | None, typer.Option("--api", metavar="URL", help="Where the service is.  [default: GANTRY_URL]")
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port it listens on.  [default: 8002]")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.  [default: 127.0.0.1]")] = None,
) -> None:
    """Run the dashboard alone, at /ui. One process of it is enough, and all that there may be."""
    flags = {"--api": api, "--port": port, "--host": host}
    _become("api.ui", *(word for flag, value in flags.items() if value is not None for word in (flag, str(value))))


@worker_app.callback()
def worker(context: typer.Context) -> None:
    """Run a training worker alone, one job at a time. `drain ID` sends one home, wherever it runs."""
    if context.invoked_subcommand is None:
        _become("worker")


@app.command(rich_help_panel=SERVICE)
def sampler() -> None:
    """Run the sampler alone: it draws images for the API."""
    _become("worker.sampler")


@app.command(rich_help_panel=SERVICE)
def migrate() -> None:
    """Bring the database's schema to this version. Safe to repeat."""
    from jobs import db  # noqa: PLC0415
    from jobs.errors import DatabaseUnavailable  # noqa: PLC0415
    from jobs.startup import keep_private  # noqa: PLC0415

    settings = _settings()
    keep_private()
    try:
        db.migrate(settings)
    except DatabaseUnavailable as error:
        fail(str(error))
    typer.echo("The schema is current.")


@app.command(rich_help_panel=SERVICE)
def settings(
    as_json: commands.AsJson = False,
) -> None:
    """List every GANTRY_* variable, with its value here. Also what it is, and its default."""
    from jobs.settings import PREFIX  # noqa: PLC0415

    here = _settings()
    listed = {f"{PREFIX}{name.upper()}": _setting(here, name) for name in type(here).model_fields}
    if as_json:
        typer.echo(json.dumps(listed, indent=2, default=str))
        return
    for name, setting in listed.items():
        typer.echo(f"{name}={setting['value']}")
        typer.echo(f"    {setting['about']}  [default: {setting['default']}]")


@app.command(rich_help_panel=SERVICE)
def openapi() -> None:
    """Print the OpenAPI document, for programs that write clients; it needs no service."""
    import json  # noqa: PLC0415

    from api.app import create_app  # noqa: PLC0415

    typer.echo(json.dumps(create_app(_settings()).openapi(), indent=1, ensure_ascii=False))


@app.command(rich_help_panel=SERVICE)
def doctor(
    data: Annotated[Path | None, typer.Option(help="Data folder.  [default: gantry-data]")] = None,
    as_json: commands.AsJson = False,
) -> None:
    """Check each part that the settings name. Exit 1 when one is not there."""
    from api import doctor as examination  # noqa: PLC0415

    raise typer.Exit(examination.run(_settings(data_dir=data), as_json=as_json))


@app.command(rich_help_panel=SERVICE)
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the pictures and the data.")] = Path("demo"),
) -> None:
    """Train the default job here, and leave its pictures. It takes a minute or two."""
    from api import demo as show  # noqa: PLC0415

    try:
        raise typer.Exit(show.run(out))
    except show.DemoError as error:
        fail(str(error))


def main() -> None:
    """The entry point."""
    try:
        app()
    except BadSetting as error:
        fail(str(error), 2)
    except ApiError as error:
        fail(_sentence(error))
    except Unreachable as error:
        fail(str(error))


def fail(sentence: str, code: int = 1) -> NoReturn:
    """What is wrong on stderr, and out."""
    typer.echo(sentence, err=True)
    sys.exit(code)


def _sentence(error: ApiError) -> str:
    """Every problem on a line of its own; before it the way to a nested field, when the sentence does not say it."""
    said = [_located(p["pointer"], p["detail"]) for p in error.problem.get("errors") or []]
    return "\n".join(said) or str(error)


def _located(pointer: str, detail: str) -> str:
    path = [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]
    named = len(path) == 1 or ".".join(path) in detail or ".".join(path[:-1]) + ";" in detail
    return detail if not path or named else f"{'.'.join(path)}: {detail}"


def _setting(here: Any, name: str) -> dict[str, Any]:
    """One setting: its value here, unless that is a secret, or a URL, which may hold a password."""
    about, value = type(here).model_fields[name], getattr(here, name)
    secret = name.endswith(("_url", "key")) and value != about.default
    default = "empty" if about.default == "" else about.default
    return {"value": "(set)" if secret else value, "default": default, "about": about.description}


def _settings(**overrides: object) -> Any:
    from jobs.errors import SettingsError  # noqa: PLC0415
    from jobs.settings import load_settings  # noqa: PLC0415

    try:
        return load_settings(**overrides)
    except SettingsError as error:
        fail(str(error), 2)


def _become(module: str, *words: str) -> NoReturn:
    """Go on as `python -m module words`: signals reach it directly, and nothing of this process stays."""
    os.execv(sys.executable, [sys.executable, "-m", module, *words])


if __name__ == "__main__":
    main()
