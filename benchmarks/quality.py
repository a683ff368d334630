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
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import torch

from benchmarks import quality_page
from gan import checkpoint, features
from gan.data import ImageDataset
from gan.datasets import load
from gan.evaluate import Evaluation
from gan.events import CheckpointDue, Evaluated, HealthChanged, Tick
from gan.sample import Generator, grid_png
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
    with ThreadPoolExecutor(asked.jobs) as pool:
        codes = list(pool.map(lambda name: _apart(name, asked, each), names))
    print(quality_page.table(quality_page.results_in(asked.out)))
    return max(codes, default=0)


def _apart(name: str, asked: argparse.Namespace, threads: int) -> int:
    command = [sys.executable, "-m", "benchmarks.quality", "--one", name, "--out", str(asked.out)]
    command += ["--minutes", str(asked.minutes), "--dataset", asked.dataset, "--threads", str(threads)]
    code = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": str(threads)}, check=False).returncode
    if code:
        print(f"{name} ended with {code}", file=sys.stderr)
    return code


def _run(name: str, data: ImageDataset, asked: argparse.Namespace) -> Result:
    """Train preset `name` for the asked time and measure it; its pictures stay in the folder."""
    torch.set_num_threads(asked.threads)
    net = features.for_dataset(data, asked.out / "features")
    spec = _fitting(name, data, asked.minutes * 60.0)
    trainer = Trainer(spec, data, asked.device, features=net)
    began = time.monotonic()
    evaluations: list[Evaluation] = []
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


def _fitting(name: str, data: ImageDataset, seconds: float) -> TrainSpec:
    """Preset `name`, as long as it can train in `seconds`, evaluated some times."""
    trial = resolve({**_asked(name), "evaluation": {"enabled": False}, "total_steps": 100_000})
    trainer, marks = Trainer(trial, data, tick_seconds=0.0), [(time.monotonic(), 0)]
    for event in trainer.run(stop=lambda: time.monotonic() - marks[0][0] > TRIAL_SECONDS):
        if isinstance(event, Tick):
            marks.append((time.monotonic(), event.step))
    # The first steps are slower: kernels are chosen, memory is fetched.
    (began, first), (ended, last) = marks[len(marks) // 4], marks[-1]
    steps = max(EVALUATIONS, int((last - first) / (ended - began) * seconds))
    every = max(1, steps // EVALUATIONS)
    evaluation = {"every_steps": every, "images": IMAGES}
    schedule = {"evaluation": evaluation, "previews": {"every_steps": steps}}
    return resolve({**_asked(name), **schedule, "total_steps": steps, "checkpoints": {"every_steps": every}})


def _asked(name: str) -> dict[str, Any]:
    return {"dataset": DATASET, "preset": name}


def _picture(weights: Path) -> bytes:
    """Ten rows, a class a row; of an unconditional generator, eight rows."""
    drawn = Generator.load(weights)
    labels = drawn.info.labels if drawn.spec.conditional else ()
    rows = len(labels) or WIDTH
    class_ids = [row for row in range(rows) for _ in range(WIDTH)] if labels else None
    seeds = list(range(WIDTH)) * rows if labels else list(range(WIDTH * rows))
    return grid_png(drawn.draw(class_ids, seeds), rows, labels)


def _keep(out: Path, result: Result) -> None:
    (out / f"{result.preset}.json").write_text(json.dumps(asdict(result), indent=1) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=__doc__)
    parser.add_argument("presets", nargs="*", default=list(PRESETS), help="which (default: all)")
    parser.add_argument("--minutes", type=float, default=3.0, help="training time of each (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=2, help="presets at a time (default: %(default)s)")
    parser.add_argument("--dataset", default=DATASET)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=_folder, default=Path("quality"), help="folder of the results")
    parser.add_argument("--again", action="store_true", help="train those too that have a result")
    parser.add_argument("--one", choices=list(PRESETS), help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help=argparse.SUPPRESS)
    return parser


def _folder(text: str) -> Path:
    path = Path(text)
    path.mkdir(parents=True, exist_ok=True)
    return path


if __name__ == "__main__":
    sys.exit(main())
