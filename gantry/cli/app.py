"""The command `gantry`. An error is one sentence on stderr and exit code 1, or 2 if a setting is not usable.

A command imports what is slow to load only when it runs, so that `gantry --help` answers at once.
"""

from __future__ import annotations

import sys
from typing import Annotated, Any, Final, NoReturn

import typer
from jsonpointer import JsonPointer
from typer.core import TyperGroup

from gantry.cli import datasets, downloads, jobs, keys, service, webhooks

JOBS: Final = "Jobs"
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
    jobs.submit, jobs.jobs, jobs.show, jobs.watch, jobs.events,
    downloads.samples, downloads.curves, downloads.previews, downloads.weights,
    jobs.pause, jobs.resume, jobs.cancel, jobs.retry, jobs.delete,
    jobs.presets, jobs.workers,
):  # fmt: skip
    app.command(rich_help_panel=JOBS)(command)
app.add_typer(datasets.app, name="datasets", rich_help_panel=JOBS)
app.add_typer(webhooks.app, name="webhooks", rich_help_panel=JOBS)

app.add_typer(keys.keys, name="keys", rich_help_panel=SERVICE)
app.add_typer(keys.tenants, name="tenants", rich_help_panel=SERVICE)
app.command(rich_help_panel=SERVICE)(keys.audit)
service.worker_app.command()(jobs.drain)
app.add_typer(service.worker_app, name="worker", rich_help_panel=SERVICE)
for run in (
    service.up, service.api, service.relay, service.ui, service.sampler,
    service.migrate, service.settings, service.openapi, service.doctor, service.demo,
):  # fmt: skip
    app.command(rich_help_panel=SERVICE)(run)


def _print_version(asked: bool) -> None:
    if asked:
        from gantry import __version__  # noqa: PLC0415

        typer.echo(f"gantry {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options of the command itself, before any subcommand. Typer takes its help from `HELP`."""


def main() -> None:
    """Run the command. Every error that is foreseen is a sentence on stderr and an exit code."""
    from gantry.client import ApiError, BadSettingError, UnreachableError  # noqa: PLC0415
    from gantry.extras import MissingExtraError  # noqa: PLC0415
    from gantry.local.errors import LocalServiceError  # noqa: PLC0415

    try:
        app(prog_name="gantry")
    except BadSettingError as error:
        fail(str(error), 2)
    except LocalServiceError as error:
        fail(str(error), error.code)
    except ApiError as error:
        fail(_sentences(error.problem.get("errors") or []) or str(error))
    except (UnreachableError, MissingExtraError) as error:
        fail(str(error))


def fail(sentence: str, code: int = 1) -> NoReturn:
    """Print `sentence` on stderr and exit with `code`."""
    typer.echo(sentence, err=True)
    sys.exit(code)


def _sentences(problems: list[Any]) -> str:
    """Return a line for each problem, after the path of its field where the sentence does not name it."""
    return "\n".join(_located(problem["pointer"], problem["detail"]) for problem in problems)


def _located(pointer: str, detail: str) -> str:
    path = JsonPointer(pointer).parts
    named = len(path) == 1 or ".".join(path) in detail or ".".join(path[:-1]) + ";" in detail
    return detail if not path or named else f"{'.'.join(path)}: {detail}"


if __name__ == "__main__":
    main()
