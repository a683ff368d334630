"""The commands that speak to a running service over HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from gantry.assignments import AssignmentError, YAMLError, assign, read_yaml
from gantry.cli.output import (
    AsJson,
    JobId,
    Limit,
    Url,
    print_answer,
    print_json,
    print_page,
    tell_deleted,
    until_interrupted,
)
from gantry.client import DEFAULT_URL, Client, Json
from gantry.remedies import NoSuchFindingError, remedied


def submit(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="A job as YAML or JSON: the body of POST /v1/jobs.")
    ] = None,
    preset: Annotated[
        str | None, typer.Option(metavar="NAME", help="What to begin with; `gantry presets` lists them.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(metavar="NAME", help="What to train on; `gantry datasets list` lists them.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="How many steps to train.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of all that is random.")] = None,
    name: Annotated[str | None, typer.Option(help="What people call it.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="A.B=C", help="Any field, such as optimizers.g.beta1=0.")
    ] = None,
    from_: Annotated[
        str | None, typer.Option("--from", metavar="JOB", help="Begin with the whole spec of this job.")
    ] = None,
    remedy: Annotated[
        list[str] | None,
        typer.Option(metavar="CODE", help="With --from: cured of this finding of it; may be repeated."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Store nothing: print the whole spec, and what it would take.")
    ] = False,
    watching: Annotated[bool, typer.Option("--watch", help="Follow it until it has ended.")] = False,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Submit a job, and print its id. What is left out, the preset and the defaults fill in."""
    flags = {"preset": preset, "dataset": dataset, "total_steps": steps, "seed": seed, "name": name}
    if from_ is not None and not (file is None and preset is None):
        raise typer.BadParameter("--from begins with a whole spec: give no file and no --preset beside it.")
    if remedy and from_ is None:
        raise typer.BadParameter("--remedy needs --from JOB: the job whose finding it is.")
    with Client(url) as client:
        body = _read(file) if from_ is None else _again(client, from_, remedy or ())
        body |= {key: value for key, value in flags.items() if value is not None}
        for assignment in set_ or ():
            _assign(body, assignment)
        answer = client.submit(body, dry_run=dry_run)
        if dry_run:
            print_json(answer)
        else:
            _tell_new(client, answer, watching, as_json)


def jobs(
    status: Annotated[str | None, typer.Option(help="Of these statuses, separated by commas.")] = None,
    limit: Limit = 20,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """List jobs, newest first."""
    from gantry.terminal.jobs import table  # noqa: PLC0415

    filters = {} if status is None else {"status": status}
    with Client(url) as client:
        print_page(client.jobs(limit=limit, **filters), table, as_json)


def show(job: JobId, as_json: AsJson = False, url: Url = DEFAULT_URL) -> None:
    """Show one job: how far, how good, and what was found. Also what may be asked of it."""
    from gantry.terminal.jobs import job_sheet  # noqa: PLC0415

    with Client(url) as client:
        found = client.job(job)
        if as_json:
            print_json(found)
        else:
            typer.echo(job_sheet(found, client.best_evaluation(job)))


def watch(job: JobId, as_json: AsJson = False, url: Url = DEFAULT_URL) -> None:
    """Follow a job until it has ended. Exit 0: succeeded; 1: failed or cancelled; 130: interrupted."""
    with Client(url) as client:
        _follow(client, job, as_json=as_json)


def events(
    job: JobId,
    after: Annotated[int, typer.Option(min=0, help="Only those past this number.")] = 0,
    follow: Annotated[bool, typer.Option("--follow", help="Go on until the job has ended.")] = False,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """List what happened to a job, in order."""
    with Client(url) as client, until_interrupted(job):
        for event in client.events(job, after) if follow else client.past_events(job, after):
            data = json.dumps(event["data"], ensure_ascii=False)
            text = f"{event['seq']:>5}  {event['at']}  {event['type']:<20}  {data}"
            typer.echo(json.dumps(event) if as_json else text)


def cancel(job: JobId, as_json: AsJson = False, url: Url = DEFAULT_URL) -> None:
    """Stop a job. One that trains saves a checkpoint first."""
    _ask(job, Client.cancel, "stops soon", as_json, url)


def pause(job: JobId, as_json: AsJson = False, url: Url = DEFAULT_URL) -> None:
    """Let a job rest. One that trains saves a checkpoint first and gives its device back."""
    _ask(job, Client.pause, "pauses soon", as_json, url)


def resume(job: JobId, as_json: AsJson = False, url: Url = DEFAULT_URL) -> None:
    """Let a paused job go on from its checkpoint."""
    _ask(job, Client.resume, "goes on", as_json, url)


def retry(
    job: JobId,
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="From the first step, not from the last good checkpoint.")
    ] = False,
    watching: Annotated[bool, typer.Option("--watch", help="Follow it until it has ended.")] = False,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Go on with a failed or cancelled job, as a new one. Prints its id."""
    with Client(url) as client:
        _tell_new(client, client.retry(job, from_scratch=from_scratch), watching, as_json)


def delete(job: JobId, as_json: AsJson = False, url: Url = DEFAULT_URL) -> None:
    """Remove an ended job and its files."""
    with Client(url) as client:
        client.delete(job)
    tell_deleted(job, as_json)


def presets(
    name: Annotated[str | None, typer.Argument(metavar="PRESET", help="One of them, for more.")] = None,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """List the presets, or say more of one. They are named starting points of a job."""
    from gantry.terminal.jobs import preset_sheet, preset_table  # noqa: PLC0415

    with Client(url) as client:
        if name is None:
            print_page(client.presets(), preset_table, as_json)
            return
        found = client.preset(name)
    if as_json:
        print_json(found)
    else:
        typer.echo(preset_sheet(found))


def workers(limit: Limit = 50, as_json: AsJson = False, url: Url = DEFAULT_URL) -> None:
    """List the workers."""
    from gantry.terminal.jobs import worker_table  # noqa: PLC0415

    with Client(url) as client:
        print_page(client.workers(limit=limit), worker_table, as_json)


def drain(
    worker: Annotated[str, typer.Argument(metavar="ID", help="A worker's id, as `gantry workers` lists it.")],
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Have a worker give its job back after a checkpoint, and end."""
    with Client(url) as client:
        answer = client.drain(worker)
    carried = answer["current_job_id"]
    does = f"gives {carried} back and ends" if carried else "takes no more jobs and ends"
    print_answer(answer, f"{worker} {does}.", as_json)


def _tell_new(client: Client, job: Json, watching: bool, as_json: bool) -> None:
    """Of a job that was just made: its id, or all of it; then, watching, how it goes."""
    if not as_json:
        typer.echo(job["id"])
    elif not watching:
        print_json(job)
    if watching:
        _follow(client, job["id"], as_json=as_json)


def _ask(job: str, action: Callable[[Client, str], Json], while_it_runs: str, as_json: bool, url: str) -> None:
    with Client(url) as client:
        answer = action(client, job)
    does = while_it_runs if answer["status"] == "running" else f"is {answer['status']}"
    print_answer(answer, f"{job} {does}.", as_json)


def _follow(client: Client, job_id: str, *, as_json: bool = False) -> None:
    with until_interrupted(job_id):
        job = _print_changes(client, job_id) if as_json else _show(client, job_id)
    raise typer.Exit(0 if job["status"] == "succeeded" else 1)


def _show(client: Client, job_id: str) -> Json:
    from rich.console import Console  # noqa: PLC0415

    from gantry.terminal.jobs import follow  # noqa: PLC0415

    return follow(client, job_id, Console())


def _print_changes(client: Client, job_id: str) -> Json:
    job: Json = {}
    for job in client.watch(job_id):
        typer.echo(json.dumps(job))
    return job


def _again(client: Client, job_id: str, codes: Sequence[str]) -> dict[str, Any]:
    """The spec of a job, cured of these findings."""
    try:
        return remedied(client.job(job_id), codes)
    except NoSuchFindingError as error:
        raise typer.BadParameter(str(error)) from None


def _read(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        body = read_yaml(file.read_text())
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        raise typer.BadParameter(f"{file} cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(body, dict):
        raise typer.BadParameter(f"{file} holds no job: it must be fields and values.")
    return body


def _assign(body: dict[str, Any], assignment: str) -> None:
    try:
        assign(body, assignment)
    except AssignmentError as error:
        raise typer.BadParameter(f"--set {error}") from None
