"""`make stopped`: every preset stopped at 1 %, 10 % and 30 % of its run; no verdict may be healthy without evidence.

Each preset trains on the real images that ship with Gantry, through the public `Trainer`, in a process of its own.
The evidence is computed here from the figures of the last evaluation, and not by the code that gives the verdict.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch

from benchmarks.apart import all_apart, folder
from gan.data import ImageDataset
from gan.datasets import load
from gan.events import Evaluated
from gan.quality import features
from gan.quality.evaluate import EvaluationResult
from gan.quality.features import FeatureNet
from gan.spec import PRESETS, TrainSpec, resolve
from gan.train import Trainer

DATASET: Final = "fashion-mnist-mini"
SHARES: Final = (0.01, 0.1, 0.3)


@dataclass(frozen=True)
class Stop:
    """What a job said when it was stopped."""

    preset: str
    share: float
    step: int
    verdict: str
    message: str
    figures: dict[str, float]
    evidence: bool
    """Whether the last evaluation shows images that a person recognises."""

    @property
    def as_it_should_be(self) -> bool:
        """Whether the verdict is not healthy, or there is evidence."""
        return self.evidence or self.verdict != "healthy"


def body_of(preset: str, total_steps: int | None = None) -> dict[str, Any]:
    """Return the body of a job of `preset` with an evaluation at each stop; `total_steps` shortens the run."""
    steps = total_steps or resolve({"dataset": DATASET, "preset": preset}).total_steps
    every = max(1, round(SHARES[0] * steps))
    quiet = {"every_steps": steps}
    evaluation = {"every_steps": every, "images": 1_000}
    return {
        "dataset": DATASET, "preset": preset, "total_steps": steps, "evaluation": evaluation, "previews": quiet,
        "checkpoints": quiet,
    }  # fmt: skip


def stops(spec: TrainSpec, data: ImageDataset, net: FeatureNet) -> list[Stop]:
    """Train `spec` up to the last of `SHARES`. Return what the job says at each of them."""
    ends = {max(1, round(share * spec.total_steps)): share for share in SHARES}
    trainer, found, last = Trainer(spec, data, features=net), [], None
    for event in trainer.run(stop=lambda: trainer.step >= max(ends)):
        if not isinstance(event, Evaluated):
            continue
        last = event.evaluation
        if event.step in ends:
            said = trainer.health.summary
            found.append(
                Stop(
                    spec.preset, ends[event.step], event.step, said.verdict, said.message, last.metrics,
                    recognisable(last, data),
                )
            )  # fmt: skip
    return found


def recognisable(evaluation: EvaluationResult, data: ImageDataset) -> bool:
    """Return whether precision, coverage and label accuracy are high enough, compared with those of real images."""
    metrics, reals = evaluation.metrics, evaluation.reference
    enough = metrics["precision"] >= 0.3 * reals["precision"] and metrics["coverage"] >= 0.05 * reals["coverage"]
    if "label_accuracy" not in metrics:
        return enough
    chance = max(c.count for c in data.info.classes) / data.info.num_images
    return enough and metrics["label_accuracy"] - chance >= 0.5 * (reals["label_accuracy"] - chance)


def table(rows: Sequence[Stop]) -> str:
    """Return a Markdown table with a row for each stop."""
    lines = ["| preset | stopped at | step | verdict | what it says | |", "| --- | --- | --- | --- | --- | --- |"]
    for row in rows:
        outcome = "as it should be" if row.as_it_should_be else "**NOT SO**"
        lines.append(f"| `{row.preset}` | {row.share:.0%} | {row.step} | {row.verdict} | {row.message} | {outcome} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Train the presets and print the table. Returns 0 if every row is as it should be."""
    asked = _parser().parse_args(arguments)
    if asked.one:
        torch.set_num_threads(1)
        data = load(DATASET)
        net = features.for_dataset(data, asked.out / "features")
        rows = stops(resolve(body_of(asked.one, asked.steps)), data, net)
        (asked.out / f"{asked.one}.json").write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
        return 0
    options = ["--out", str(asked.out)] + (["--steps", str(asked.steps)] if asked.steps else [])
    codes = all_apart(
        asked.presets, lambda name: ["benchmarks.verdicts.stopped", "--one", name, *options], asked.at_once, 1
    )
    done = [name for name, code in zip(asked.presets, codes, strict=True) if code == 0]
    rows = [row for name in done for row in _kept(asked.out / f"{name}.json")]
    print(table(rows))
    return 0 if len(done) == len(asked.presets) and all(row.as_it_should_be for row in rows) else 1


def _kept(path: Path) -> list[Stop]:
    values: list[Mapping[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return [Stop(**one) for one in values]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.verdicts.stopped", description=__doc__)
    parser.add_argument("presets", nargs="*", default=list(PRESETS), help="which (default: all)")
    parser.add_argument("--steps", type=int, help="steps of each run (default: those of the preset)")
    parser.add_argument("--at-once", type=int, default=2, help="presets at a time (default: %(default)s)")
    parser.add_argument("--out", type=folder, default=Path("stopped"), help="folder of the results")
    parser.add_argument("--one", choices=list(PRESETS), help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
