"""The output folder of a run without the service: the files and the terminal lines that each event produces."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict
from pathlib import Path

from gan import checkpoint
from gan.events import CheckpointDue, Evaluated, Event, HealthChanged, PreviewReady, Tick
from gan.findings import HealthFinding
from gan.sample import grid_png
from gan.train import Trainer


class RunFolder:
    """The files of one run.

    `samples.png`, `metrics.csv`, `checkpoint.pt` and `weights.safetensors`; `health.json` once there is a verdict;
    with evaluations also `evaluations.jsonl` and `best.safetensors`.
    """

    def __init__(self, path: Path, trainer: Trainer) -> None:
        self._path, self._trainer = path, trainer
        self._verdict: str | None = None
        path.mkdir(parents=True, exist_ok=True)
        for name in ("metrics.csv", "evaluations.jsonl"):
            (path / name).write_text("", encoding="utf-8")
        if not trainer.spec.evaluation.enabled:
            (path / "evaluations.jsonl").unlink()
        self._add_rows([["step", *trainer.metrics]])

    def write(self, event: Event) -> None:
        """Write the files for `event`, and print a line about it."""
        match event:
            case Tick():
                self._add_rows([[step, *row] for step, row in enumerate(event.values.tolist(), event.first_step)])
                self._print_progress(event)
            case PreviewReady():
                self._replace("samples.png", grid_png(event.images, event.rows, event.row_labels))
            case Evaluated():
                self._add_evaluation(event)
            case HealthChanged():
                self._write_health(event)
            case CheckpointDue():
                self._write_checkpoint(event.best)

    def _add_rows(self, rows: list[list[object]]) -> None:
        with (self._path / "metrics.csv").open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows)

    def _print_progress(self, tick: Tick) -> None:
        latest = dict(zip(tick.names, tick.values[-1].tolist(), strict=True))
        print(
            f"step {tick.step}/{self._trainer.spec.total_steps}  loss_d {latest['loss_d']:.3f}  "
            f"loss_g {latest['loss_g']:.3f}  d_accuracy {latest['d_accuracy']:.2f}  "
            f"{tick.images_per_second:.0f} images/s",
            flush=True,
        )

    def _add_evaluation(self, event: Evaluated) -> None:
        with (self._path / "evaluations.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({**asdict(event.evaluation), "best": event.best}) + "\n")
        figures = "  ".join(f"{name} {value:.3f}" for name, value in event.evaluation.metrics.items())
        print(f"evaluation at step {event.step}{' (best)' if event.best else ''}: {figures}", flush=True)

    def _write_health(self, event: HealthChanged) -> None:
        health = {
            "step": event.step,
            **event.summary.to_json(),
            "findings": [finding.to_json() for finding in event.findings],
        }
        self._replace("health.json", json.dumps(health, indent=2).encode() + b"\n")
        if event.raised or event.verdict != self._verdict:
            print(f"health at step {event.step}: {event.verdict}. {event.summary.message}", flush=True)
        self._verdict = event.verdict
        for finding in event.raised:
            print(_description(finding), flush=True)

    def _write_checkpoint(self, best: bool) -> None:
        # Write a temporary file and rename it, so that a reader finds the old or the new file, never a partial one.
        with (self._path / "checkpoint.pt.new").open("wb") as file:
            checkpoint.save(file, self._trainer.state())
        (self._path / "checkpoint.pt.new").replace(self._path / "checkpoint.pt")
        trainer = self._trainer
        weights = checkpoint.save_weights(trainer.weights(), trainer.spec, trainer.info, trainer.step)
        for name in ("weights", *(["best"] if best else [])):
            self._replace(f"{name}.safetensors", weights)

    def _replace(self, name: str, content: bytes) -> None:
        (self._path / f"{name}.new").write_bytes(content)
        (self._path / f"{name}.new").replace(self._path / name)


def _description(finding: HealthFinding) -> str:
    """Return the lines that describe a finding: code, first step, message, evidence and remedy."""
    lines = [f"  {finding.severity}: {finding.code}, since step {finding.began_at_step}. {finding.message}"]
    lines += [f"    {e.metric} {e.value:.4g} (threshold {e.threshold:.4g})" for e in finding.evidence]
    lines += [f"    set {r.pointer} to {json.dumps(r.value)}: {r.why}" for r in finding.remedy]
    return "\n".join(lines)
