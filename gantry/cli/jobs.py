"""The commands that list, show, follow and control jobs."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated

import typer

from gantry.cli.output import (
    AsJson,
    JobId,
    Limit,
    Url,
    print_deleted,
    print_json,
    print_page,
    print_result,
    until_interrupted,
)
from gantry.client import DEFAULT_URL, Client, Json


def jobs(
    status: Annotated[str | None, typer.Option(help="Only jobs of these statuses, separated by commas.")] = None,
    limit: Limit = 20,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """List jobs, newest first."""
    from gantry.terminal.tables import job_table  # noqa: PLC0415

    filters = {} if status is None else {"status": status}
    with Client(url) as client:
        print_page(client.jobs(limit=limit, **filters), job_table, as_json)


def show(job: JobId, as_json: AsJson = False, url: Url = DEFAULT_URL) -> None:
    """Show one job: progress, quality, findings. It also lists the actions that the job takes."""
    from gantry.terminal.details import job_details  # noqa: PLC0415

    with Client(url) as client:
        found = client.job(job)
        if as_json:
            print_json(found)
        else:
            typer.echo(job_details(found, client.best_evaluation(job)))


def watch(job: JobId, as_json: AsJson = False, url: Url = DEFAULT_URL) -> None:
    """Follow a job until it has ended. Exit codes: 0 succeeded, 1 failed or cancelled, 130 interrupted."""
    with Client(url) as client:
        _follow(client, job, as_json=as_json)


def events(
    job: JobId,
    after: Annotated[int, typer.Option(min=0, help="Only events with a higher number.")] = 0,
    follow: Annotated[bool, typer.Option("--follow", help="Continue until the job has ended.")] = False,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """List the events of a job, oldest first."""
    with Client(url) as client, until_interrupted(job):
        for event in client.events(job, after) if follow else client.past_events(job, after):
            data = json.dumps(event["data"], ensure_ascii=False)
            line = f"{event['seq']:>5}  {event['at']}  {event['type']:<20}  {data}"
            typer.echo(json.dumps(event) if as_json else line)


def cancel(job: JobId, as_json: AsJson = False, url: Url = DEFAULT_URL) -> None:
    """Cancel a job. A running job saves a checkpoint first."""
    _control(job, Client.cancel, "stops soon", as_json, url)


def pause(job: JobId, as_json: AsJson = False, url: Url = DEFAULT_URL) -> None:
    """Pause a job. A running job saves a checkpoint first and frees its device."""
    _control(job, Client.pause, "pauses soon", as_json, url)


def resume(job: JobId, as_json: AsJson = False, url: Url = DEFAULT_URL) -> None:
    """Resume a paused job from its checkpoint."""
    _control(job, Client.resume, "goes on", as_json, url)


def retry(
    job: JobId,
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="Begin at the first step, not at the last good checkpoint.")
    ] = False,
    watching: Annotated[bool, typer.Option("--watch", help="Follow the job until it has ended.")] = False,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Continue a failed or cancelled job as a new job, and print its id."""
    with Client(url) as client:
        print_new_job(client, client.retry(job, from_scratch=from_scratch), watching, as_json)


def delete(job: JobId, as_json: AsJson = False, url: Url = DEFAULT_URL) -> None:
    """Delete a job that has ended, and its files."""
    with Client(url) as client:
        client.delete(job)
    print_deleted(job, as_json)


def print_new_job(client: Client, job: Json, watching: bool, as_json: bool) -> None:
    """Print the id of a new job, or the whole job as JSON. If `watching`, follow it until it has ended."""
    if not as_json:
        typer.echo(job["id"])
    elif not watching:
        print_json(job)
    if watching:
        _follow(client, job["id"], as_json=as_json)


def _control(job: str, action: Callable[[Client, str], Json], if_running: str, as_json: bool, url: str) -> None:
    """Request an action, and print the job's new status, or `if_running` if the job has yet to act on it."""
    with Client(url) as client:
        result = action(client, job)
    status = if_running if result["status"] == "running" else f"is {result['status']}"
    print_result(result, f"{job} {status}.", as_json)


def _follow(client: Client, job_id: str, *, as_json: bool = False) -> None:
    with until_interrupted(job_id):
        job = _print_changes(client, job_id) if as_json else _show_progress(client, job_id)
    raise typer.Exit(0 if job["status"] == "succeeded" else 1)


def _show_progress(client: Client, job_id: str) -> Json:
    from rich.console import Console  # noqa: PLC0415

    from gantry.terminal.progress import follow  # noqa: PLC0415

    return follow(client, job_id, Console())


def _print_changes(client: Client, job_id: str) -> Json:
    """Print the job as one line of JSON now and after each change. Return the job that has ended."""
    job: Json = {}
    for job in client.watch(job_id):
        typer.echo(json.dumps(job))
    return job
