"""`make failures`: jobs that are made to fail, each in its own way, and the same jobs with the remedy that was named.

The default preset, at learning rates of 0.002, on the real images that ship with Gantry. A row is as it should be
when a finding that belongs to the failure was raised, and the job that its remedy makes ends healthy and never raises
it. Each job runs in a process of its own, on one thread.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import torch

from benchmarks.apart import all_apart, folder
from gan.data import HeldOut, ImageDataset
from gan.datasets import load
from gan.events import Evaluated, HealthChanged
from gan.findings import Code, HealthFinding, remedied
from gan.quality import features
from gan.randomness import generator
from gan.spec import merged, resolve
from gan.train import DivergedError, Trainer

DATASET: Final = "fashion-mnist-mini"


@dataclass(frozen=True)
class FailureCase:
    """A failure: what is changed in the job, and the findings of which one must be raised; () if none must."""

    expected: tuple[Code, ...]
    changes: dict[str, Any] = field(default_factory=dict)
    shuffled: bool = False
    """Whether the labels of the images are shuffled."""


def _rates(**rates: float) -> dict[str, Any]:
    return {"optimizers": {player: {"learning_rate": rate} for player, rate in rates.items()}}


JOBS: Final[dict[str, FailureCase]] = {
    "healthy": FailureCase(()),
    "D far too strong": FailureCase(("vanishing_gradients",), _rates(g=2e-5, d=2e-2)),
    # Which of these findings such a run raises first is random.
    "learning rates far too high": FailureCase(
        ("divergence", "non_finite", "mode_collapse", "class_collapse", "never_learned"), _rates(g=0.2, d=0.2)
    ),
    "labels shuffled": FailureCase(("conditioning_ignored",), shuffled=True),
    "z_dim 1": FailureCase(("mode_collapse", "class_collapse"), {"generator": {"z_dim": 1}}),
    "D far too weak": FailureCase(("generator_dominates",), _rates(g=2e-3, d=1e-6)),
}


@dataclass(frozen=True)
class Trial:
    """One run."""

    verdict: str
    """The verdict at the end; "diverged" if the job diverged."""
    raised: tuple[HealthFinding, ...]
    metrics: dict[str, float]
    """Of the last evaluation."""
    seconds: float

    def first(self, codes: Sequence[Code]) -> HealthFinding | None:
        """Return the first finding that was raised with one of these codes."""
        return next((finding for finding in self.raised if finding.code in codes), None)

    @property
    def healthy(self) -> bool:
        """Whether the job ends healthy."""
        return self.verdict == "healthy"


@dataclass(frozen=True)
class FailureRow:
    """A failing job and the same job with its remedy; `after` is None if there is no remedy."""

    job: str
    before: Trial
    after: Trial | None

    @property
    def as_it_should_be(self) -> bool:
        """Whether the expected finding was raised and its remedy cured the job, or a healthy job stayed healthy."""
        expected = JOBS[self.job].expected
        if not expected:
            return self.before.healthy and all(f.severity == "info" for f in self.before.raised)
        return self.after is not None and self.after.healthy and self.after.first(expected) is None


def body_of(name: str, steps: int) -> dict[str, Any]:
    """Return the POST body of a job."""
    body = {
        "dataset": DATASET,
        **_rates(g=2e-3, d=2e-3),
        "total_steps": steps,
        "evaluation": {"every_steps": max(1, steps // 6), "images": 1_000},
        "safeguards": {"every_steps": 50, "probe_every_steps": max(1, steps // 9)},
        "previews": {"every_steps": steps},
        "checkpoints": {"every_steps": steps},
    }
    return merged(body, JOBS[name].changes)


def data_of(name: str) -> ImageDataset:
    """Return the images of a job."""
    data = load(DATASET)
    return shuffled(data) if JOBS[name].shuffled else data


def shuffled(data: ImageDataset) -> ImageDataset:
    """Return the same images with shuffled labels."""
    assert data.labels is not None and data.held_out is not None and data.held_out.labels is not None
    labels, unseen = data.labels, data.held_out.labels
    source = generator(0, "shuffled labels")
    held_out = HeldOut(data.held_out.images, unseen[torch.randperm(len(unseen), generator=source)])
    # Without the digest of the data set that it is no longer, it gets a feature network of its own.
    info = data.info.model_copy(update={"sha256": None})
    return replace(data, info=info, labels=labels[torch.randperm(len(labels), generator=source)], held_out=held_out)


def run(name: str, steps: int, folder: Path | None = None) -> FailureRow:
    """Train the failing job. If the expected finding is raised, train it again with the remedy."""
    data, body = data_of(name), body_of(name, steps)
    net = features.for_dataset(data, folder)
    before = trial(body, data, net)
    finding = before.first(JOBS[name].expected)
    return FailureRow(name, before, None if finding is None else trial(remedied(body, finding), data, net))


def trial(body: Mapping[str, Any], data: ImageDataset, net: features.FeatureNet) -> Trial:
    """Train, and return what the health checks found."""
    trainer, began = Trainer(resolve(body), data, features=net), time.monotonic()
    raised: list[HealthFinding] = []
    metrics: dict[str, float] = {}
    verdict = None
    try:
        for event in trainer.run():
            if isinstance(event, HealthChanged):
                raised += event.raised
            if isinstance(event, Evaluated):
                metrics = event.evaluation.metrics
    except DivergedError:
        verdict = "diverged"
    return Trial(verdict or trainer.health.verdict, tuple(raised), metrics, time.monotonic() - began)


def table(rows: Sequence[FailureRow]) -> str:
    """Return a Markdown table with a row for each job."""
    titles = ("job", "must be found", "found", "evidence", "also found", "remedy", "with the remedy", "")
    lines = [f"| {' | '.join(titles)} |", "|" + " --- |" * len(titles)]
    lines += [f"| {' | '.join(_cells(row))} |" for row in rows]
    return "\n".join(lines)


def _cells(row: FailureRow) -> tuple[str, ...]:
    expected = JOBS[row.job].expected
    finding = row.before.first(expected)
    also = sorted({f.code for f in row.before.raised if finding is None or f.code != finding.code})
    if finding is None:
        found, evidence, remedy = "-", "", ""
    else:
        found = f"`{finding.code}`, {finding.severity}, began {finding.began_at_step}, found {finding.found_at_step}"
        evidence = ", ".join(f"{e.metric} {e.value:.3g} (limit {e.threshold:.3g})" for e in finding.evidence)
        remedy = ", ".join(f"`{r.pointer}` {json.dumps(r.value)}" for r in finding.remedy)
    return (
        row.job, _named(expected, " or ") or "nothing", found, evidence, _named(also, ", "), remedy,
        _outcome(row.after or row.before), "as it should be" if row.as_it_should_be else "**NOT SO**",
    )  # fmt: skip


def _named(codes: Sequence[str], between: str) -> str:
    return between.join(f"`{code}`" for code in codes)


def _outcome(trial: Trial) -> str:
    warned = sorted({f.code for f in trial.raised if f.severity != "info"})
    figures = f"FCD {trial.metrics['fcd']:.1f}, coverage {trial.metrics['coverage']:.2f}" if trial.metrics else ""
    return f"{trial.verdict}: {figures}" + (f"; raised {', '.join(warned)}" if warned else "")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the jobs and print the table. Returns 0 if every row is as expected."""
    asked = _parser().parse_args(arguments)
    if asked.one:
        torch.set_num_threads(1)
        keep(asked.out, run(asked.one, asked.steps, asked.out / "features"))
        return 0
    options = ["--out", str(asked.out), "--steps", str(asked.steps)]
    codes = all_apart(asked.jobs, lambda name: ["benchmarks.failures", "--one", name, *options], asked.at_once, 1)
    rows = [kept(asked.out, name) for name, code in zip(asked.jobs, codes, strict=True) if code == 0]
    print(table(rows))
    return 0 if len(rows) == len(asked.jobs) and all(row.as_it_should_be for row in rows) else 1


def keep(out: Path, row: FailureRow) -> None:
    """Write `row` into the folder."""
    _file(out, row.job).write_text(json.dumps(asdict(row), indent=1) + "\n", encoding="utf-8")


def kept(out: Path, name: str) -> FailureRow:
    """Return the row that `keep` wrote for a job."""
    values = json.loads(_file(out, name).read_text(encoding="utf-8"))
    before, after = (
        values[when]
        and Trial(**{**values[when], "raised": tuple(map(HealthFinding.from_json, values[when]["raised"]))})
        for when in ("before", "after")
    )
    return FailureRow(name, before, after)


def _file(out: Path, name: str) -> Path:
    return out / f"{name.replace(' ', '-')}.json"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.failures", description=__doc__)
    parser.add_argument("jobs", nargs="*", default=list(JOBS), help="which (default: all)")
    parser.add_argument("--steps", type=int, default=1_200, help="steps of each run (default: %(default)s)")
    parser.add_argument("--at-once", type=int, default=2, help="jobs at a time (default: %(default)s)")
    parser.add_argument("--out", type=folder, default=Path("failures"), help="folder of the results")
    parser.add_argument("--one", choices=list(JOBS), help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
