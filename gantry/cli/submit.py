"""`gantry submit`: build the body of a job from a file, another job and flags, and submit it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from gantry.assignments import AssignmentError, YAMLError, assign, problem_of, read_yaml
from gantry.cli.jobs import print_new_job
from gantry.cli.output import AsJson, Url, print_json
from gantry.client import DEFAULT_URL, Client
from gantry.remedies import NoSuchFindingError, remedied


def submit(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="A job as YAML or JSON: the body of POST /v1/jobs.")
    ] = None,
    preset: Annotated[
        str | None, typer.Option(metavar="NAME", help="Preset to begin with; `gantry presets` lists them.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(metavar="NAME", help="Data set to train on; `gantry datasets list` lists them.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Number of training steps.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of all random numbers.")] = None,
    name: Annotated[str | None, typer.Option(help="A name for people.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="A.B=C", help="Set any field, such as optimizers.g.beta1=0. Repeatable."),
    ] = None,
    from_: Annotated[
        str | None, typer.Option("--from", metavar="JOB", help="Begin with the whole spec of this job.")
    ] = None,
    remedy: Annotated[
        list[str] | None,
        typer.Option(metavar="CODE", help="With --from: apply the remedy of this finding of the job. Repeatable."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Store nothing: print the whole spec and the estimated cost.")
    ] = False,
    watching: Annotated[bool, typer.Option("--watch", help="Follow the job until it has ended.")] = False,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Submit a job and print its id. The preset and the defaults give every field that is left out."""
    flags = {"preset": preset, "dataset": dataset, "total_steps": steps, "seed": seed, "name": name}
    if from_ is not None and not (file is None and preset is None):
        raise typer.BadParameter("--from takes a whole spec and cannot be combined with a file or --preset.")
    if remedy and from_ is None:
        raise typer.BadParameter("--remedy needs --from JOB, the job that has the finding.")
    with Client(url) as client:
        body = _read(file) if from_ is None else _spec_of(client, from_, remedy or ())
        body |= {key: value for key, value in flags.items() if value is not None}
        for assignment in set_ or ():
            _assign(body, assignment)
        result = client.submit(body, dry_run=dry_run)
        if dry_run:
            print_json(result)
        else:
            print_new_job(client, result, watching, as_json)


def _spec_of(client: Client, job_id: str, findings: Sequence[str]) -> dict[str, Any]:
    """Return the spec of a job with the remedies of `findings`."""
    try:
        return remedied(client.job(job_id), findings)
    except NoSuchFindingError as error:
        raise typer.BadParameter(str(error)) from None


def _read(file: Path | None) -> dict[str, Any]:
    """Return the body in `file`, or an empty body without a file."""
    if file is None:
        return {}
    try:
        body = read_yaml(file.read_text(encoding="utf-8-sig"))
    except YAMLError as error:
        raise typer.BadParameter(f"{file} cannot be read: {problem_of(error)}.") from None
    except UnicodeDecodeError:
        raise typer.BadParameter(f"{file} cannot be read: it is not UTF-8; save it as UTF-8.") from None
    except OSError as error:
        raise typer.BadParameter(f"{file} cannot be read: {error}") from None
    if not isinstance(body, dict):
        raise typer.BadParameter(f"{file} is not a job: a job consists of fields and their values.")
    return body


def _assign(body: dict[str, Any], assignment: str) -> None:
    try:
        assign(body, assignment)
    except AssignmentError as error:
        raise typer.BadParameter(f"--set {error}") from None
