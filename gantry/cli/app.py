"""The command `gantry`. An error is one sentence on stderr and exit code 1, or 2 if a setting is not valid.

Commands import slow modules when they run, so that `gantry --help` starts fast.
"""

from __future__ import annotations

import io
import sys
from typing import Annotated, Any, Final, NoReturn

import typer
from jsonpointer import JsonPointer
from typer.core import TyperGroup

from gantry.cli import audit, datasets, jobs, keys, presets, results, service, submit, tenants, webhooks, workers
from gantry.errors import ApiError, BadArgumentError, BadSettingError, UnreachableError
from gantry.extras import MissingExtraError
from gantry.local.errors import LocalServiceError

JOBS: Final = "Jobs"
SERVICE: Final = "Running the service"

HELP: Final = """Train GANs on a Gantry service.

To begin, run `gantry up` in one terminal, and in another:
`gantry submit --dataset fashion-mnist-mini --watch`.

GANTRY_URL is the address of the service. --json prints JSON, for programs.
Exit codes: 0 success, 1 failed or refused, 2 wrong usage, 130 interrupted."""


class Sections(TyperGroup):
    """Commands under two headings. Typer prints headings only with its rich help, which loads more slowly."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the list of commands into the help text."""
        limit = formatter.width - 4 - max(map(len, self.commands))
        for heading in (JOBS, SERVICE):
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
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    submit.submit, jobs.jobs, jobs.show, jobs.watch, jobs.events,
    results.samples, results.curves, results.previews, results.weights,
    jobs.pause, jobs.resume, jobs.cancel, jobs.retry, jobs.delete,
    presets.presets, workers.workers,
):  # fmt: skip
    app.command(rich_help_panel=JOBS)(command)
app.add_typer(datasets.app, name="datasets", rich_help_panel=JOBS)
app.add_typer(webhooks.app, name="webhooks", rich_help_panel=JOBS)

for service_command in (
    service.up, service.api, service.relay, service.ui, service.sampler,
    service.migrate, service.settings, service.openapi, service.doctor, service.demo,
    audit.audit,
):  # fmt: skip
    app.command(rich_help_panel=SERVICE)(service_command)
service.worker_app.command()(workers.drain)
app.add_typer(service.worker_app, name="worker", rich_help_panel=SERVICE)
keys.app.command("first")(service.first_key)
app.add_typer(keys.app, name="keys", rich_help_panel=SERVICE)
app.add_typer(tenants.app, name="tenants", rich_help_panel=SERVICE)


def _print_version(requested: bool) -> None:
    if requested:
        from gantry import __version__  # noqa: PLC0415

        typer.echo(f"gantry {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Define the options of `gantry` itself. The help text is `HELP`."""


def main() -> None:
    """Run the command. Print an expected error as a sentence on stderr, and exit with its code."""
    _print_every_character()
    try:
        app(prog_name="gantry")
    except (BadSettingError, BadArgumentError) as error:
        fail(str(error), 2)
    except LocalServiceError as error:
        fail(str(error), error.code)
    except ApiError as error:
        fail(_sentences(error.problem.get("errors") or []) or str(error))
    except (UnreachableError, MissingExtraError) as error:
        fail(str(error))


def _print_every_character() -> None:
    """Write a character that the terminal's encoding lacks as its number. Otherwise a name could end the command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def fail(sentence: str, code: int = 1) -> NoReturn:
    """Print `sentence` on stderr and exit with `code`."""
    typer.echo(sentence, err=True)
    sys.exit(code)


def _sentences(problems: list[Any]) -> str:
    """Return one line for each invalid field of a request."""
    return "\n".join(_with_field(problem["pointer"], problem["detail"]) for problem in problems)


def _with_field(pointer: str, detail: str) -> str:
    """Return `detail` after the path of its field, unless `detail` names the field itself."""
    path = JsonPointer(pointer).parts
    is_named = len(path) == 1 or ".".join(path) in detail or ".".join(path[:-1]) + ";" in detail
    return detail if not path or is_named else f"{'.'.join(path)}: {detail}"


if __name__ == "__main__":
    main()
