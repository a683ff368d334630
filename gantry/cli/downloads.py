"""The commands that fetch what a job has made: into a file, or onto the screen of a terminal that shows pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from gantry.cli.output import AsJson, JobId, Url, print_json
from gantry.client import DEFAULT_URL, Client, Json

if TYPE_CHECKING:
    from gantry.terminal.images import TerminalImages

_SAMPLE_TYPES: Final = {
    ".png": "image/png",
    ".zip": "application/zip",
    ".npz": "application/x-npz",
    ".json": "application/json",
}
_CURVE_TYPES: Final = {".png": "image/png", ".csv": "text/csv", ".json": "application/json"}
_FILM_TYPES: Final = {".gif": "image/gif"}
_WEIGHTS_TYPES: Final = {".safetensors": "safetensors", ".onnx": "onnx"}

Show = Annotated[bool, typer.Option("--show", help="Show it here, whether or not it is saved.")]


def samples(
    job: JobId,
    label: Annotated[list[str] | None, typer.Option(help="A class, by name or id; may be repeated.")] = None,
    n: Annotated[int, typer.Option("-n", min=1, max=64, help="Images of each class.")] = 8,
    seed: Annotated[int, typer.Option(min=0, help="Image i is drawn from seed + i.")] = 0,
    checkpoint: Annotated[str | None, typer.Option(help="best, last or an id.  [default: best, else last]")] = None,
    truncation: Annotated[float, typer.Option(help="Above 0, at most 1: less is more alike.")] = 1.0,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", help="A .png, .zip, .npz or .json file.  [default: the screen; samples.png in a pipe]"
        ),
    ] = None,
    show: Show = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print which images they are, as JSON; draw none.")] = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Draw images from a job's generator, a row a class. On a terminal they are shown, or saved with -o."""
    asked: dict[str, Any] = {
        "labels": label or (), "n": n, "seed": seed, "checkpoint": checkpoint, "truncation": truncation,
    }  # fmt: skip
    with Client(url) as client:
        if as_json:
            _refuse_beside_json(out, show)
            print_json(json.loads(client.samples(job, **asked, accept="application/json")))
            return
        file, shown = _destination(out, show, "samples.png", _SAMPLE_TYPES)
        if file is not None:
            _write(file, client.samples(job, **asked, accept=_SAMPLE_TYPES[file.suffix.lower()]))
        if shown:
            wall = _wall()
            if wall.has_pixels:
                wall.show(client.samples(job, **asked))
            else:
                wall.show_samples(client.images(job, **asked))


def curves(
    job: JobId,
    names: Annotated[
        str | None, typer.Option(help="Which, separated by commas.  [default: the losses in a picture, else all]")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="A .png, .csv or .json file.  [default: the screen; loss.png in a pipe]"),
    ] = None,
    show: Show = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the points as JSON.")] = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Fetch a job's curves, as a picture or as numbers. On a terminal they are shown, or saved with -o."""
    asked = [] if names is None else [name.strip() for name in names.split(",")]
    with Client(url) as client:
        if as_json:
            _refuse_beside_json(out, show)
            print_json(json.loads(client.curves(job, names=asked, accept="application/json")))
            return
        file, shown = _destination(out, show, "loss.png", _CURVE_TYPES)
        if file is not None:
            _write(file, client.curves(job, names=asked, accept=_CURVE_TYPES[file.suffix.lower()]))
        if shown:
            _show_curves(client, job, asked)


def previews(
    job: JobId,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            help="A .gif file, of all of them.  [default: the screen, the last; learning.gif in a pipe]",
        ),
    ] = None,
    show: Show = False,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Fetch what a job drew of the same latents as it learnt. On a terminal the last of it is shown."""
    with Client(url) as client:
        if as_json:
            _refuse_beside_json(out, show)
            print_json(client.previews(job))
            return
        file, shown = _destination(out, show, "learning.gif", _FILM_TYPES)
        film = client.film(job)  # or why there is none
        if file is not None:
            _write(file, film)
        if shown:
            _wall().show(client.preview(job, client.previews(job)[-1]["step"]))


def weights(
    job: JobId,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="A .safetensors or .onnx file.  [default: generator.safetensors]"),
    ] = None,
    checkpoint: Annotated[str | None, typer.Option(help="best, last or an id.  [default: best, else last]")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the job's checkpoints as JSON; fetch none.")] = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Fetch a job's generator, to draw from it elsewhere."""
    with Client(url) as client:
        if as_json:
            _refuse_beside_json(out)
            print_json(client.checkpoints(job))
            return
        file = out or Path("generator.safetensors")
        _require_type(file, _WEIGHTS_TYPES)
        chosen = _checkpoint(client.job(job), checkpoint)
        _write(file, client.weights(chosen, format=_WEIGHTS_TYPES[file.suffix.lower()]))


def _destination(out: Path | None, show: bool, usual: str, types: dict[str, str]) -> tuple[Path | None, bool]:
    """The file to write, if any, and whether to show it: without a word, the screen where there is one."""
    if out is not None:
        _require_type(out, types)
        return out, show
    from gantry.terminal.images import can_show  # noqa: PLC0415

    if show or can_show():
        return None, True
    return Path(usual), False


def _require_type(out: Path, types: dict[str, str]) -> None:
    if out.suffix.lower() not in types:
        raise typer.BadParameter(f"{out} must end in {' or '.join(types)}.")


def _refuse_beside_json(out: Path | None, show: bool = False) -> None:
    if out is not None or show:
        raise typer.BadParameter(f"--json prints, and does not go with {'--show' if out is None else '-o'}.")


def _show_curves(client: Client, job: str, names: list[str]) -> None:
    """The picture; below it its colours, and the figures that nobody could read off it."""
    from gantry.palette import colours  # noqa: PLC0415
    from gantry.terminal.jobs import metric_table  # noqa: PLC0415

    wall = _wall()
    wall.show(client.curves(job, names=names))
    known = {metric["name"]: metric for metric in client.metrics(job)}
    drawn = names or [name for name in known if name.startswith("loss_")] or list(known)
    wall.name(colours(drawn))
    typer.echo(metric_table([known[name] for name in drawn if name in known]), nl=False)


def _wall() -> TerminalImages:
    from gantry.terminal.images import TerminalImages, TerminalSilentError  # noqa: PLC0415

    try:
        return TerminalImages()
    except TerminalSilentError as error:
        raise typer.BadParameter(str(error)) from None


def _checkpoint(job: Json, which: str | None) -> str:
    """The id of the one that is meant."""
    best, last = job["best_checkpoint_id"], job["last_checkpoint_id"]
    found = {None: best or last, "best": best, "last": last}.get(which, which)
    if found is None:
        typer.echo(f"{job['id']} has no {which or 'last'} checkpoint yet.", err=True)
        raise typer.Exit(1)
    return str(found)


def _write(out: Path, content: bytes) -> None:
    try:
        out.write_bytes(content)
    except OSError as error:
        raise typer.BadParameter(f"{out} cannot be written: {error.strerror}.") from None
    typer.echo(str(out))
