"""The commands that fetch what a job produced, into a file or onto the screen of a terminal that shows pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from gantry.cli.output import AsJson, JobId, Url, print_json
from gantry.client import DEFAULT_URL, Client, Json

if TYPE_CHECKING:
    from gantry.terminal.images import TerminalImages

# Suffix of a file -> its media type, or for weights its format.
_SAMPLE_TYPES: Final = {
    ".png": "image/png",
    ".zip": "application/zip",
    ".npz": "application/x-npz",
    ".json": "application/json",
}
_CURVE_TYPES: Final = {".png": "image/png", ".csv": "text/csv", ".json": "application/json"}
_FILM_TYPES: Final = {".gif": "image/gif"}
_WEIGHTS_FORMATS: Final = {".safetensors": "safetensors", ".onnx": "onnx"}

Show = Annotated[bool, typer.Option("--show", help="Show the picture in the terminal, also with -o.")]
Checkpoint = Annotated[str | None, typer.Option(help="best, last or an id.  [default: best, else last]")]


def samples(
    job: JobId,
    label: Annotated[list[str] | None, typer.Option(help="A class, by name or id. Repeatable.")] = None,
    n: Annotated[int, typer.Option("-n", min=1, max=64, help="Images of each class.")] = 8,
    seed: Annotated[int, typer.Option(min=0, help="Image i is drawn with seed + i.")] = 0,
    checkpoint: Checkpoint = None,
    truncation: Annotated[
        float, typer.Option(help="Above 0, at most 1. Lower values give images that differ less.")
    ] = 1.0,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", help="A .png, .zip, .npz or .json file.  [default: the screen; samples.png in a pipe]"
        ),
    ] = None,
    show: Show = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print class and seed of each image as JSON; draw nothing.")
    ] = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Draw images from a job's generator, one row for each class. Show them in a terminal, or save them with -o."""
    request: dict[str, Any] = {
        "labels": label or (), "n": n, "seed": seed, "checkpoint": checkpoint, "truncation": truncation,
    }  # fmt: skip
    with Client(url) as client:
        if as_json:
            _refuse_with_json(out, show)
            print_json(json.loads(client.samples(job, **request, accept="application/json")))
            return
        file, on_screen = _destination(out, show, "samples.png", _SAMPLE_TYPES)
        if file is not None:
            _write(file, client.samples(job, **request, accept=_SAMPLE_TYPES[file.suffix.lower()]))
        if on_screen:
            screen = _screen()
            if screen.has_pixels:
                screen.show(client.samples(job, **request))
            else:
                screen.show_samples(client.images(job, **request))


def curves(
    job: JobId,
    names: Annotated[
        str | None,
        typer.Option(help="Names of curves, separated by commas.  [default: the losses in a picture, else all]"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="A .png, .csv or .json file.  [default: the screen; loss.png in a pipe]"),
    ] = None,
    show: Show = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the points as JSON.")] = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Fetch a job's curves as a picture or as numbers. Show them in a terminal, or save them with -o."""
    chosen = [] if names is None else [name.strip() for name in names.split(",")]
    with Client(url) as client:
        if as_json:
            _refuse_with_json(out, show)
            print_json(json.loads(client.curves(job, names=chosen, accept="application/json")))
            return
        file, on_screen = _destination(out, show, "loss.png", _CURVE_TYPES)
        if file is not None:
            _write(file, client.curves(job, names=chosen, accept=_CURVE_TYPES[file.suffix.lower()]))
        if on_screen:
            _show_curves(client, job, chosen)


def previews(
    job: JobId,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            help="A .gif file of all previews.  [default: the last one on the screen; learning.gif in a pipe]",
        ),
    ] = None,
    show: Show = False,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Fetch a job's previews, drawn during training. All are drawn from the same latents."""
    with Client(url) as client:
        if as_json:
            _refuse_with_json(out, show)
            print_json(client.previews(job))
            return
        file, on_screen = _destination(out, show, "learning.gif", _FILM_TYPES)
        # Requested in both cases: without previews, the service's error gives the reason.
        film = client.film(job)
        if file is not None:
            _write(file, film)
        if on_screen:
            _screen().show(client.preview(job, client.previews(job)[-1]["step"]))


def weights(
    job: JobId,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="A .safetensors or .onnx file.  [default: generator.safetensors]"),
    ] = None,
    checkpoint: Checkpoint = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the job's checkpoints as JSON; fetch none.")] = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Fetch a job's generator, to use it in another program."""
    with Client(url) as client:
        if as_json:
            _refuse_with_json(out)
            print_json(client.checkpoints(job))
            return
        file = out or Path("generator.safetensors")
        _require_type(file, _WEIGHTS_FORMATS)
        checkpoint_id = _checkpoint_id(client.job(job), checkpoint)
        _write(file, client.weights(checkpoint_id, format=_WEIGHTS_FORMATS[file.suffix.lower()]))


def _destination(out: Path | None, show: bool, default: str, types: dict[str, str]) -> tuple[Path | None, bool]:
    """Return the file to write or None, and whether to show the picture.

    Without -o and --show, a terminal shows it, and otherwise the file `default` is written.
    """
    if out is not None:
        _require_type(out, types)
        return out, show
    from gantry.terminal.images import can_show  # noqa: PLC0415

    if show or can_show():
        return None, True
    return Path(default), False


def _require_type(out: Path, types: dict[str, str]) -> None:
    """Refuse a file whose suffix is not in `types`."""
    if out.suffix.lower() not in types:
        raise typer.BadParameter(f"{out} must end in {' or '.join(types)}.")


def _refuse_with_json(out: Path | None, show: bool = False) -> None:
    """Refuse -o and --show, which have no meaning together with --json."""
    if out is not None or show:
        raise typer.BadParameter(f"--json cannot be combined with {'--show' if out is None else '-o'}.")


def _show_curves(client: Client, job: str, names: list[str]) -> None:
    """Show the picture, its colours, and a table of the numbers, which cannot be read from the picture."""
    from gantry.palette import colours  # noqa: PLC0415
    from gantry.terminal.tables import metric_table  # noqa: PLC0415

    screen = _screen()
    screen.show(client.curves(job, names=names))
    known = {metric["name"]: metric for metric in client.metrics(job)}
    drawn = names or [name for name in known if name.startswith("loss_")] or list(known)
    screen.show_legend(colours(drawn))
    typer.echo(metric_table([known[name] for name in drawn if name in known]), nl=False)


def _screen() -> TerminalImages:
    from gantry.terminal.images import TerminalImages, TerminalSilentError  # noqa: PLC0415

    try:
        return TerminalImages()
    except TerminalSilentError as error:
        raise typer.BadParameter(str(error)) from None


def _checkpoint_id(job: Json, which: str | None) -> str:
    """Return the id of the checkpoint `which`: best, last, an id, or None for the best or else the last."""
    best, last = job["best_checkpoint_id"], job["last_checkpoint_id"]
    found = {None: best or last, "best": best, "last": last}.get(which, which)
    if found is None:
        typer.echo(f"{job['id']} has no {which or 'last'} checkpoint yet.", err=True)
        raise typer.Exit(1)
    return str(found)


def _write(out: Path, content: bytes) -> None:
    """Write `content` to the file `out` and print its path."""
    try:
        out.write_bytes(content)
    except OSError as error:
        raise typer.BadParameter(f"{out} cannot be written: {error.strerror}.") from None
    typer.echo(str(out))
