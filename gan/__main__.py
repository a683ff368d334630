"""`python -m gan train spec.yaml --out DIR`: the same training without the service."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

import torch
import yaml

from gan import checkpoint
from gan.datasets import DatasetUnavailable, load
from gan.events import CheckpointDue, PreviewReady, Tick
from gan.sample import grid_png
from gan.spec import SpecError, TrainSpec, check_against, resolve
from gan.train import METRICS, Diverged, Trainer


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 trained, 1 training failed, 2 the spec or the command line is wrong."""
    asked = _parser().parse_args(arguments)
    try:
        spec = resolve(_body(asked.spec))
        data = load(spec.dataset)
        check_against(spec, data.info)
    except SpecError as error:
        for problem in error.problems:
            print(f"{asked.spec}: {problem.pointer or '/'}: {problem.detail}", file=sys.stderr)
        return 2
    except (ValueError, DatasetUnavailable) as error:
        print(f"{asked.spec}: {error}", file=sys.stderr)
        return 2
    asked.out.mkdir(parents=True, exist_ok=True)
    try:
        train(Trainer(spec, data, asked.device), asked.out)
    except Diverged as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def train(trainer: Trainer, out: Path) -> None:
    """Run to the end; `samples.png`, `metrics.csv`, `checkpoint.pt` and `weights.safetensors` grow in `out`."""
    with (out / "metrics.csv").open("w", newline="", encoding="utf-8") as curves:
        csv.writer(curves).writerow(["step", *METRICS])
        for event in trainer.run():
            match event:
                case Tick():
                    _write_rows(curves, event)
                    print(_progress(event, trainer.spec), flush=True)
                case PreviewReady():
                    (out / "samples.png").write_bytes(grid_png(event.images, event.rows, event.row_labels))
                case CheckpointDue():
                    _write_checkpoint(trainer, out)


def _write_rows(curves: TextIO, tick: Tick) -> None:
    rows = ([step, *row] for step, row in enumerate(tick.values.tolist(), start=tick.first_step))
    csv.writer(curves).writerows(rows)
    curves.flush()


def _write_checkpoint(trainer: Trainer, out: Path) -> None:
    # Written beside and moved over: whoever looks finds the old file or the new one, never half of one.
    with (out / "checkpoint.pt.new").open("wb") as file:
        checkpoint.save(file, trainer.state())
    (out / "checkpoint.pt.new").replace(out / "checkpoint.pt")
    weights = checkpoint.save_weights(trainer.weights(), trainer.spec, trainer.info, trainer.step)
    (out / "weights.safetensors.new").write_bytes(weights)
    (out / "weights.safetensors.new").replace(out / "weights.safetensors")


def _progress(tick: Tick, spec: TrainSpec) -> str:
    latest = dict(zip(tick.names, tick.values[-1].tolist(), strict=True))
    return (
        f"step {tick.step}/{spec.total_steps}  loss_d {latest['loss_d']:.3f}  loss_g {latest['loss_g']:.3f}  "
        f"d_accuracy {latest['d_accuracy']:.2f}  {tick.images_per_second:.0f} images/s"
    )


def _body(path: Path) -> dict[str, Any]:
    """The POST body as YAML. Raises `ValueError` with a sentence."""
    try:
        body = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"the file cannot be read ({error}).") from error
    except yaml.YAMLError as error:
        raise ValueError(f"this is not YAML: {error}") from error
    if not isinstance(body, dict) or not all(isinstance(key, str) for key in body):
        raise ValueError("the file must hold fields and values, such as `dataset: fashion-mnist-mini`.")
    return body


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m gan", description="Train a GAN without the service.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("train", help="train the job that a YAML file asks for")
    command.add_argument("spec", type=Path, help="the body of POST /v1/jobs, as YAML")
    command.add_argument("--out", type=Path, required=True, help="folder for samples, curves, checkpoint and weights")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    command.add_argument("--device", default=device, help="cpu, cuda or cuda:1 (default: %(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
