"""A run without a service, kept in a folder: what each event leaves there, and what is said of it on the terminal."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict
from pathlib import Path

from gan import checkpoint
from gan.events import CheckpointDue, Evaluated, Event, HealthChanged, PreviewReady, Tick
from gan.findings import HealthFinding
from gan.sample import grid_png
from gan.train import METRICS, Trainer


class RunFolder:
    """`samples.png`, `metrics.csv`, `checkpoint.pt`, `weights.safetensors`; of a run that is evaluated also
    `evaluations.jsonl` and `best.safetensors`; `health.json` once there is a verdict.
    """

    def __init__(self, path: Path, trainer: Trainer) -> None:
        self._path, self._trainer = path, trainer
        path.mkdir(parents=True, exist_ok=True)
        for name in ("metrics.csv", "evaluations.jsonl"):
            (path / name).write_text("", encoding="utf-8")
        if not trainer.spec.evaluation.enabled:
            (path / "evaluations.jsonl").unlink()
        self._add_rows([["step", *METRICS]])

    def take(self, event: Event) -> None:
        """Keep what `event` says, and say it."""
        match event:
            case Tick():
                self._add_rows([[step, *row] for step, row in enumerate(event.values.tolist(), event.first_step)])
                self._say_progress(event)
            case PreviewReady():
                self._replace("samples.png", grid_png(event.images, event.rows, event.row_labels))
            case Evaluated():
                self._add_evaluation(event)
            case HealthChanged():
                self._keep_health(event)
            case CheckpointDue():
                self._keep_checkpoint(event.best)

    def _add_rows(self, rows: list[list[object]]) -> None:
        with (self._path / "metrics.csv").open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows)

    def _say_progress(self, tick: Tick) -> None:
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

    def _keep_health(self, event: HealthChanged) -> None:
        health = {
            "step": event.step,
            "verdict": event.verdict,
            "findings": [finding.to_json() for finding in event.findings],
        }
        self._replace("health.json", json.dumps(health, indent=2).encode() + b"\n")
        print(f"health at step {event.step}: {event.verdict}", flush=True)
        for finding in event.raised:
            print(told(finding), flush=True)

    def _keep_checkpoint(self, best: bool) -> None:
        # Written beside and moved over: whoever looks finds the old file or the new one, never half of one.
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


def told(finding: HealthFinding) -> str:
    """A finding in words: what it is, since when, what it rests on, and what to set."""
    lines = [f"  {finding.severity}: {finding.code}, since step {finding.began_at_step}. {finding.message}"]
    lines += [f"    {e.metric} {e.value:.4g} (threshold {e.threshold:.4g})" for e in finding.evidence]
    lines += [f"    set {r.pointer} to {json.dumps(r.value)}: {r.why}" for r in finding.remedy]
    return "\n".join(lines)
