"""The commands that speak to a running service over HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer
import yaml

from api.assignments import BadAssignment, assign
from api.client import Client, Json
from api.remedies import NoSuchFinding, remedied

JOBS: Final = "Jobs"
DEFAULT_URL: Final = "http://127.0.0.1:8000"

_SAMPLE_TYPES: Final = {
    ".png": "image/png",
    ".zip": "application/zip",
    ".npz": "application/x-npz",
    ".json": "application/json",
}
_CURVE_TYPES: Final = {".png": "image/png", ".csv": "text/csv", ".json": "application/json"}

Url = Annotated[str, typer.Option("--url", envvar="GANTRY_URL", help="Where the service is.")]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON, for programs.")]
JobId = Annotated[str, typer.Argument(metavar="JOB", help="A job's id.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this file to `app`."""
    for function in (submit, jobs, watch, events, samples, curves, pause, resume, cancel, retry, delete, workers):
        app.command(rich_help_panel=JOBS)(function)


def submit(
    file: Annotated[Path | None, typer.Argument(help="A job as YAML or JSON: the body of POST /v1/jobs.")] = None,
    preset: Annotated[str | None, typer.Option(help="A named starting point.")] = None,
    dataset: Annotated[str | None, typer.Option(help="A registered data set.")] = None,
    steps: Annotated[int | None, typer.Option(help="total_steps.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed.")] = None,
    name: Annotated[str | None, typer.Option(help="A name for people.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="A.B=C", help="Any field, such as optimizers.g.beta1=0.")
    ] = None,
    from_: Annotated[
        str | None, typer.Option("--from", metavar="JOB", help="Begin with the spec of this job, whole.")
    ] = None,
    remedy: Annotated[
        list[str] | None, typer.Option(metavar="CODE", help="With --from: cured of this finding; may be repeated.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only the resolved spec and what it would take.")
    ] = False,
    watching: Annotated[bool, typer.Option("--watch", help="Follow it until it has ended.")] = False,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Submit a job; its id."""
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
        if as_json or dry_run:
            _print_json(answer)
        else:
            typer.echo(answer["id"])
        if watching and not dry_run:
            _follow(client, answer["id"])


def jobs(
    status: Annotated[str | None, typer.Option(help="Of these statuses, separated by commas.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many, newest first.")] = 20,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """List jobs, newest first."""
    with Client(url) as client:
        page = client.jobs(limit=limit, **({} if status is None else {"status": status}))
    if as_json:
        _print_json(page)
        return
    from api.screen import table  # noqa: PLC0415

    typer.echo(table(page["data"]), nl=False)


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
    with Client(url) as client:
        for event in client.events(job, after) if follow else client.past_events(job, after):
            data = json.dumps(event["data"], ensure_ascii=False)
            text = f"{event['seq']:>5}  {event['at']}  {event['type']:<20}  {data}"
            typer.echo(json.dumps(event) if as_json else text)


def samples(
    job: JobId,
    label: Annotated[list[str] | None, typer.Option(help="A class, by name or id; may be repeated.")] = None,
    n: Annotated[int, typer.Option("-n", min=1, max=64, help="Images of each class.")] = 8,
    seed: Annotated[int, typer.Option(min=0, help="Image i is drawn from seed + i.")] = 0,
    checkpoint: Annotated[str | None, typer.Option(help="best, last or an id.")] = None,
    truncation: Annotated[float, typer.Option(help="Above 0, at most 1: less is more alike.")] = 1.0,
    out: Annotated[Path, typer.Option("-o", "--out", help="A .png, .zip, .npz or .json file.")] = Path("samples.png"),
    url: Url = DEFAULT_URL,
) -> None:
    """Draw images from a job's generator."""
    accept = _type_of(out, _SAMPLE_TYPES)
    with Client(url) as client:
        content = client.samples(
            job, labels=label or (), n=n, seed=seed, checkpoint=checkpoint, truncation=truncation, accept=accept
        )
    _write(out, content)


def curves(
    job: JobId,
    names: Annotated[str | None, typer.Option(help="Which, separated by commas.")] = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="A .png, .csv or .json file.")] = Path("loss.png"),
    url: Url = DEFAULT_URL,
) -> None:
    """Fetch a job's curves, as a picture or as numbers."""
    with Client(url) as client:
        _write(
            out,
            client.curves(job, names=[] if names is None else names.split(","), accept=_type_of(out, _CURVE_TYPES)),
        )


def cancel(job: JobId, as_json: AsJson = False, url: Url = DEFAULT_URL) -> None:
    """Stop a job; one that trains saves a checkpoint first."""
    _ask(job, Client.cancel, "stops soon", as_json, url)


def pause(job: JobId, as_json: AsJson = False, url: Url = DEFAULT_URL) -> None:
    """Let a job rest; one that trains saves a checkpoint first and gives its device back."""
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
    """Go on with a failed or cancelled job, as a new one; its id."""
    with Client(url) as client:
        answer = client.retry(job, from_scratch=from_scratch)
        if as_json:
            _print_json(answer)
        else:
            typer.echo(answer["id"])
        if watching:
            _follow(client, answer["id"])


def delete(job: JobId, url: Url = DEFAULT_URL) -> None:
    """Remove an ended job and its files."""
    with Client(url) as client:
        client.delete(job)
    typer.echo(f"{job} is deleted.")


def workers(
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many.")] = 50,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """List the workers."""
    with Client(url) as client:
        page = client.workers(limit=limit)
    if as_json:
        _print_json(page)
        return
    from api.screen import worker_table  # noqa: PLC0415

    typer.echo(worker_table(page["data"]), nl=False)


def drain(
    worker: Annotated[str, typer.Argument(metavar="ID", help="A worker's id, as `gantry workers` lists it.")],
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Have a worker give its job back after a checkpoint, and end."""
    with Client(url) as client:
        answer = client.drain(worker)
    if as_json:
        _print_json(answer)
    else:
        carried = answer["current_job_id"]
        typer.echo(f"{worker} {f'gives {carried} back and ends' if carried else 'takes no more jobs and ends'}.")


def _ask(job: str, action: Callable[[Client, str], Json], while_it_runs: str, as_json: bool, url: str) -> None:
    with Client(url) as client:
        answer = action(client, job)
    if as_json:
        _print_json(answer)
    else:
        typer.echo(f"{job} {while_it_runs if answer['status'] == 'running' else 'is ' + answer['status']}.")


def _follow(client: Client, job_id: str, *, as_json: bool = False) -> None:
    try:
        job = _print_changes(client, job_id) if as_json else _show(client, job_id)
    except KeyboardInterrupt:
        typer.echo(f"Not watching any more; {job_id} goes on.", err=True)
        raise typer.Exit(130) from None
    raise typer.Exit(0 if job["status"] == "succeeded" else 1)


def _show(client: Client, job_id: str) -> Json:
    from rich.console import Console  # noqa: PLC0415

    from api.screen import follow  # noqa: PLC0415

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
    except NoSuchFinding as error:
        raise typer.BadParameter(str(error)) from None


def _read(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        body = yaml.safe_load(file.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise typer.BadParameter(f"{file} cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(body, dict):
        raise typer.BadParameter(f"{file} holds no job: it must be fields and values.")
    return body


def _assign(body: dict[str, Any], assignment: str) -> None:
    try:
        assign(body, assignment)
    except BadAssignment as error:
        raise typer.BadParameter(f"--set {error}") from None


def _type_of(out: Path, types: dict[str, str]) -> str:
    if out.suffix.lower() not in types:
        raise typer.BadParameter(f"{out} must end in {', '.join(types)}.")
    return types[out.suffix.lower()]


def _write(out: Path, content: bytes) -> None:
    try:
        out.write_bytes(content)
    except OSError as error:
        raise typer.BadParameter(f"{out} cannot be written: {error.strerror}.") from None
    typer.echo(str(out))


def _print_json(answer: Json) -> None:
    typer.echo(json.dumps(answer, indent=2, ensure_ascii=False))
