"""`make quality`: every preset for the same time on real Fashion-MNIST; writes docs/quality.md and its pictures.

Each preset runs in a process of its own with its share of the cores, through the public `Trainer`; a short trial
measures its rate, and the steps that fit into the time are what it is asked to train, so that its schedules end where
the run ends. Results stay in a folder: a table can be written again, or one preset trained again, without the rest.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import torch

from benchmarks import quality_page
from benchmarks.apart import all_apart, folder
from gan import checkpoint
from gan.data import ImageDataset
from gan.datasets import load
from gan.events import CheckpointDue, Evaluated, HealthChanged, Tick
from gan.quality import features
from gan.quality.evaluate import EvaluationResult
from gan.sample import TrainedGenerator, grid_png
from gan.spec import PRESETS, TrainSpec, resolve
from gan.train import Trainer

DATASET: Final = "fashion-mnist"
EVALUATIONS: Final = 6
IMAGES: Final = 5_000
TRIAL_SECONDS: Final = 8.0
WIDTH: Final = 8


@dataclass(frozen=True)
class Result:
    """One preset's run, as it is kept in the folder."""

    preset: str
    threads: int
    steps: int
    kimg: float
    seconds: float
    images_per_second: float
    best_step: int
    best: dict[str, float]
    last: dict[str, float]
    reference: dict[str, float]
    verdict: str
    findings: list[str]
    raised: list[str] = field(default_factory=list)
    """Warnings of the whole run, those too that no longer held at its end."""
    provenance: dict[str, Any] = field(default_factory=dict)
    machine: str = ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 when every preset that was asked for has a result."""
    asked = _parser().parse_args(arguments)
    if asked.one:
        _keep(asked.out, _run(asked.one, load(asked.dataset), asked))
        return 0
    names = [name for name in asked.presets if asked.again or not (asked.out / f"{name}.json").exists()]
    each = max(1, (os.cpu_count() or 1) // asked.jobs)
    options = ["--out", str(asked.out), "--minutes", str(asked.minutes), "--dataset", asked.dataset]
    options += ["--device", asked.device, "--threads", str(each)]
    codes = all_apart(names, lambda name: ["benchmarks.quality", "--one", name, *options], asked.jobs, each)
    print(quality_page.table(quality_page.results_in(asked.out)))
    return max(codes, default=0)


def _run(name: str, data: ImageDataset, asked: argparse.Namespace) -> Result:
    """Train preset `name` for the asked time and measure it; its pictures stay in the folder."""
    torch.set_num_threads(asked.threads)
    net = features.for_dataset(data, asked.out / "features")
    spec = _fitting(name, data, asked.minutes * 60.0, asked.device)
    trainer = Trainer(spec, data, asked.device, features=net)
    began = time.monotonic()
    evaluations: list[EvaluationResult] = []
    raised: list[str] = []
    for event in trainer.run():
        match event:
            case Evaluated():
                evaluations.append(event.evaluation)
                figures = "  ".join(f"{key} {value:.3f}" for key, value in event.evaluation.metrics.items())
                print(f"{name}: step {event.step}/{spec.total_steps}  {figures}", flush=True)
            case HealthChanged():
                raised += [f.code for f in event.raised if f.severity != "info"]
                print(f"{name}: {event.verdict} {[f.code for f in event.findings]}", flush=True)
            case CheckpointDue(best=True):
                weights = checkpoint.save_weights(trainer.weights(), spec, data.info, trainer.step)
                (asked.out / f"{name}.safetensors").write_bytes(weights)
    seconds = time.monotonic() - began
    (asked.out / f"{name}.png").write_bytes(_picture(asked.out / f"{name}.safetensors"))
    best = next(e for e in evaluations if e.step == trainer.best_step)
    return Result(
        preset=name, threads=asked.threads, steps=trainer.step, kimg=trainer.images_seen / 1000, seconds=seconds,
        images_per_second=trainer.images_seen / seconds, best_step=best.step, best=best.metrics,
        last=evaluations[-1].metrics, reference=best.reference, verdict=trainer.health.verdict,
        findings=[f.code for f in trainer.health.findings], raised=raised, provenance=best.provenance,
        machine=f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, {trainer.device}",
    )  # fmt: skip


def _fitting(name: str, data: ImageDataset, seconds: float, device: str) -> TrainSpec:
    """Preset `name`, as long as it can train in `seconds`, evaluated some times."""
    asked = {"dataset": data.info.name, "preset": name}
    trial = resolve({**asked, "evaluation": {"enabled": False}, "total_steps": 100_000})
    trainer, marks = Trainer(trial, data, device, tick_seconds=0.0), [(time.monotonic(), 0)]
    for event in trainer.run(stop=lambda: time.monotonic() - marks[0][0] > TRIAL_SECONDS):
        if isinstance(event, Tick):
            marks.append((time.monotonic(), event.step))
    # The first steps are slower: kernels are chosen, memory is fetched.
    (began, first), (ended, last) = marks[len(marks) // 4], marks[-1]
    steps = max(EVALUATIONS, int((last - first) / (ended - began) * seconds))
    every = max(1, steps // EVALUATIONS)
    evaluation = {"every_steps": every, "images": IMAGES}
    schedule = {"evaluation": evaluation, "previews": {"every_steps": steps}}
    return resolve({**asked, **schedule, "total_steps": steps, "checkpoints": {"every_steps": every}})


def _picture(weights: Path) -> bytes:
    """Ten rows, a class a row; of an unconditional generator, eight rows."""
    return grid_png(*TrainedGenerator.load(weights).overview(WIDTH, seed=0))


def _keep(out: Path, result: Result) -> None:
    (out / f"{result.preset}.json").write_text(json.dumps(asdict(result), indent=1) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=__doc__)
    parser.add_argument("presets", nargs="*", default=list(PRESETS), help="which (default: all)")
    parser.add_argument("--minutes", type=float, default=3.0, help="training time of each (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=2, help="presets at a time (default: %(default)s)")
    parser.add_argument("--dataset", default=DATASET)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=folder, default=Path("quality"), help="folder of the results")
    parser.add_argument("--again", action="store_true", help="train those too that have a result")
    parser.add_argument("--one", choices=list(PRESETS), help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
