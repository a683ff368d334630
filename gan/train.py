"""The loop: `Trainer.run()` trains and tells what happens; it knows no job, no file and no clock but its tick."""

from __future__ import annotations

import hashlib
import json
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final, Literal

import numpy as np
import torch
from torch import Tensor

from gan.adversarial.distributed import ALONE, Ranks
from gan.adversarial.state import METRICS, TrainingState
from gan.data import ImageDataset
from gan.events import CheckpointDue, Evaluated, Event, HealthChanged, PreviewReady, Tick
from gan.findings import HealthFinding
from gan.frozen import in_eval
from gan.health import HealthMonitor
from gan.metric_buffer import MetricBuffer, MetricRows
from gan.quality.evaluate import EvaluationResult, Evaluator, classifier_trained_on_fakes
from gan.quality.features import FeatureNet
from gan.quality.probes import Prober
from gan.sample import TrainedGenerator
from gan.spec import TrainSpec

__all__ = ["METRICS", "TICK_STEPS", "DivergedError", "StateMismatchError", "Trainer", "fingerprint"]

# Steps at most between two ticks: what the device holds of the curves until somebody reads them.
TICK_STEPS: Final = 1_000
# The columns of "unseen" in checkpoints from before the names of the metrics were kept with them.
_METRICS_WITHOUT_NAMES: Final = (
    "loss_d", "d_accuracy", "real_logit", "fake_logit", "penalty_d", "class_loss_d", "grad_norm_d", "loss_g",
    "grad_norm_g",
)  # fmt: skip
# What may change between a checkpoint and the run that goes on from it: none of it moves a weight.
_NOT_LEARNING: Final = {
    "name", "labels", "preset", "total_steps", "evaluation", "previews", "checkpoints", "resources", "priority",
    "max_attempts", "max_runtime_seconds",
}  # fmt: skip


class DivergedError(Exception):
    """Losses or gradients are not finite, and to roll back did not help. `step` is where that began."""

    def __init__(self, step: int, why: str) -> None:
        self.step = step
        super().__init__(why)


class StateMismatchError(ValueError):
    """A checkpoint of another spec, another data set or another version of the spec."""


class Trainer:
    """Plays `spec`'s game on `data`.

    Two runs of the same spec on the same CPU, with the same number of torch's threads and the same torch, give the
    same weights, bit for bit; with other threads, sums are added up in another order, and their last bits differ.
    Raises `StateMismatchError` where `state` belongs to another spec or data set. `features` is what the images are judged
    by, needed where the spec evaluates.
    """

    def __init__(
        self,
        spec: TrainSpec,
        data: ImageDataset,
        device: torch.device | str = "cpu",
        state: Mapping[str, Any] | None = None,
        tick_seconds: float = 1.0,
        features: FeatureNet | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        self.spec = spec
        self.info = data.info
        self._data = data
        self.device = torch.device(device)
        self.ranks = ranks
        self.ended_early: str | None = None
        self._tick_seconds = tick_seconds
        self._state = TrainingState(spec, data, self.device, ranks)
        self.health = HealthMonitor(spec, data.info)
        self._prober = Prober(spec, data, self.device)
        self._evaluator = _evaluator(spec, data, features, self.device)
        self._unread = torch.zeros(TICK_STEPS, len(METRICS), device=self.device)
        self._first_unread = 1
        self._unchecked = MetricBuffer(METRICS)
        self._diverged: DivergedError | None = None
        self._marks: deque[tuple[float, int]] = deque(maxlen=8)
        if state is not None:
            self._restore(state)
        self._good = copied(self._state.learned())

    @property
    def step(self) -> int:
        """Steps done."""
        return self._state.step

    @property
    def images_seen(self) -> int:
        """Real images shown to D."""
        return self._state.images_seen

    @property
    def best_step(self) -> int | None:
        """The step of the best evaluation so far, for which a checkpoint was due; None before there is one."""
        return None if self.health.best is None else self.health.best.step

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to do: trained to the end, or ended early, as the safeguards ask."""
        return self.step >= self.spec.total_steps or self.ended_early is not None

    def run(self, stop: Callable[[], bool] = lambda: False) -> Iterator[Event]:
        """Train to the end, or until `stop()`. It may be left at any event, and run again.

        `stop` is asked after a tick, once all that belongs to its step is told: whoever goes on from there misses
        nothing, as what is left out of a step is not told again.
        A preview and an evaluation before the first step; a tick every `tick_seconds`; previews, evaluations and
        checkpoints where the spec says and at the end, each after a tick of its own step. Raises `DivergedError`, after
        the tick that shows it.
        """
        self._raise_if_diverged()
        if self.step == 0:
            yield self._preview()
            yield from self._evaluate()
        self._marks.append((time.monotonic(), self.images_seen))
        while not self.finished:
            self._advance()
            told = self._is_to_be_told()
            if told:
                yield self._read_tick()
                yield from self._look()
                self._raise_if_diverged()
            if self._due("previews"):
                yield self._preview()
            best = False
            if self.spec.evaluation.enabled and self._due("evaluation"):
                for event in self._evaluate():
                    best = best or (isinstance(event, Evaluated) and event.best)
                    yield event
                self._raise_if_diverged()
            if best or self._due("checkpoints"):
                self._keep_if_good()
                yield CheckpointDue(self.step, self.finished, best)
            if told and self.ranks.agree(stop()):
                return

    def weights(self) -> dict[str, Tensor]:
        """What samples are drawn from: G_ema, or G where the average is off. Copies, on the CPU."""
        tensors: dict[str, Tensor] = copied(self._state.sampled.state_dict())
        return tensors

    @contextmanager
    def sampling(self) -> Iterator[TrainedGenerator]:
        """What samples are drawn from, as it is now, in eval mode inside the block."""
        network = self._state.sampled
        with in_eval(network):
            yield TrainedGenerator(network, self.spec, self.info, self.step)

    def state(self) -> dict[str, Any]:
        """All that is needed to go on, tensors (copies, on the CPU) and plain values.

        A state is always of the moment between two steps. Raises `DivergedError` where the run has.
        """
        self._raise_if_diverged()
        unchecked = self._unchecked.joined(MetricRows(METRICS, self._unread_rows()))
        return {
            "spec": self.spec.model_dump(mode="json"),
            "fingerprint": fingerprint(self.spec, self._data.sha256),
            "versions": {
                "torch": str(torch.__version__),
                "spec": self.spec.spec_version,
                "threads": torch.get_num_threads(),
            },
            "play": copied(self._state.state()),
            "health": self.health.state(),
            "unseen": torch.from_numpy(unchecked.values),
            "unseen_metrics": list(unchecked.names),
            "ended_early": self.ended_early,
        }

    def _restore(self, state: Mapping[str, Any]) -> None:
        if state["fingerprint"] != fingerprint(self.spec, self._data.sha256):
            raise StateMismatchError(
                "This checkpoint was made with another spec, another data set or another version of this program. "
                "Go on with what it was made with, or start anew."
            )
        self._state.load(state["play"])
        self.health.load(state["health"])
        names = state.get("unseen_metrics", _METRICS_WITHOUT_NAMES)
        self._unchecked.append(MetricRows(tuple(names), state["unseen"].numpy()))
        self.ended_early = state["ended_early"]
        self._first_unread = self.step + 1

    def _advance(self) -> None:
        """One step; its metrics stay on the device."""
        metrics = self._state.advance()
        self._unread[self.step - self._first_unread] = metrics

    def _due(self, section: str) -> bool:
        """Whether the spec asks for this section's event now; each is due at the end too."""
        return self.finished or self.step % getattr(self.spec, section).every_steps == 0

    def _is_to_be_told(self) -> bool:
        """Whether a tick is due. Looks, and whatever rests on them, fall on steps that no clock has a say in."""
        sections = ["previews", "checkpoints"] + ["evaluation"] * self.spec.evaluation.enabled
        full = self.step - self._first_unread + 1 == TICK_STEPS
        if full or self._looks() or self._probes() or any(self._due(section) for section in sections):
            return True
        # Several ranks must agree on it without asking each other in every step.
        return self.ranks.count == 1 and time.monotonic() - self._marks[-1][0] >= self._tick_seconds

    def _looks(self) -> bool:
        return self.finished or self.step % self.spec.safeguards.every_steps == 0

    def _probes(self) -> bool:
        return self.step % self.spec.safeguards.probe_every_steps == 0

    def _read_tick(self) -> Tick:
        """Fetch the unread metrics: the one place where training waits for the device."""
        first, values = self._first_unread, self._unread_rows()
        self._first_unread = self.step + 1
        self._unchecked.append(MetricRows(METRICS, values))
        (then, seen), now = self._marks[0], time.monotonic()
        self._marks.append((now, self.images_seen))
        rate = (self.images_seen - seen) / max(now - then, 1e-9)
        return Tick(self.step, self.images_seen, rate, first, METRICS, values)

    def _unread_rows(self) -> np.ndarray[Any, np.dtype[np.float32]]:
        return self._unread[: self.step - self._first_unread + 1].cpu().numpy().copy()

    def _look(self) -> Iterator[HealthChanged]:
        """Let health see the losses since its last look, and from time to time the images; act on what it finds."""
        before, raised = self._verdict(), []
        if self._looks():
            names, values = self._unchecked.take()
            raised += self.health.add_losses(self.step - len(values) + 1, names, values)
        if self._probes():
            raised += self.health.add_probe(
                self._prober.probe(self._state.sampled, self._state.adversarial.d.network, self.step)
            )
        yield from self._tell_health(before, raised)

    def _evaluate(self) -> Iterator[Evaluated | HealthChanged]:
        """How good the images are; nothing where the spec does not evaluate."""
        if self._evaluator is None:
            return
        weights: Literal["ema", "raw"] = "raw" if self._state.ema is None else "ema"
        with self.sampling() as drawn:
            found = self._evaluator.evaluate(drawn, self.step, self.images_seen, weights)
        if self.finished and self.spec.evaluation.train_on_fakes:
            found = self._with_classifier(found)
        before = self._verdict()
        raised = self.health.add_evaluation(found)
        yield Evaluated(self.step, found, best=self.best_step == self.step)
        yield from self._tell_health(before, raised)

    def _with_classifier(self, found: EvaluationResult) -> EvaluationResult:
        """The last evaluation, with the accuracy on reals of a classifier that was trained on fakes alone."""
        with self.sampling() as drawn:
            accuracy = classifier_trained_on_fakes(drawn, self._data, self.spec.seed)
        return replace(found, metrics={**found.metrics, "accuracy_trained_on_fakes": accuracy})

    def _tell_health(self, before: object, raised: list[HealthFinding]) -> Iterator[HealthChanged]:
        self._act()
        if self._verdict() != before:
            yield HealthChanged(self.step, self.health.verdict, self.health.findings, tuple(raised))

    def _verdict(self) -> object:
        return self.health.verdict, self.health.findings

    def _act(self) -> None:
        """Do what the safeguards ask for: nothing in secret, each is a finding that is told."""
        action = self.ranks.agree(self.health.action)
        match action.kind:
            case "fail":
                self._diverged = DivergedError(action.step, action.why)
            case "stop":
                self.ended_early = action.why
            case "roll_back" if self.finished and any(f.code == "non_finite" for f in self.health.findings):
                # No step is left in which other weights could do better.
                self._diverged = DivergedError(action.step, action.why)
            case "roll_back":
                self._state.put_back(self._good)
                self._state.rate_scale /= 2
                self.health.add_roll_back(self.step)

    def _keep_if_good(self) -> None:
        """Hold a copy of what was learned, to roll back to, unless something is wrong with it."""
        if self.health.verdict in ("unknown", "healthy") and self._state.finite:
            self._good = copied(self._state.learned())

    def _raise_if_diverged(self) -> None:
        if self._diverged is not None:
            raise self._diverged

    def _preview(self) -> PreviewReady:
        """The fixed latents, drawn as a sampler would draw them; the generator of training is not touched."""
        with self.sampling() as drawn:
            return PreviewReady(self.step, *drawn.overview(self.spec.previews.per_class, self.spec.seed))


def fingerprint(spec: TrainSpec, data_digest: str) -> str:
    """sha256 of all that shapes learning: a checkpoint serves only the spec and the images that it was made with."""
    # Defaults are left out, so that a field which a later version adds leaves the checkpoints of this one in use.
    # For this SPEC_VERSION stands in for them: it must be raised when a default changes, or a new field's default is
    # not what was done before there was the field.
    changed = spec.model_dump(mode="json", exclude=_NOT_LEARNING, exclude_defaults=True)
    length = {"total_steps": spec.total_steps} if spec.scheduled else {}
    learning = json.dumps(changed | length | {"spec_version": spec.spec_version}, sort_keys=True)
    return hashlib.sha256(f"{learning}\n{data_digest}".encode()).hexdigest()


def copied(tree: Any) -> Any:
    """`tree` with every tensor copied to the CPU, its memory layout kept."""
    if isinstance(tree, Tensor):
        return tree.detach().to("cpu", copy=True)
    if isinstance(tree, Mapping):
        return {key: copied(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [copied(value) for value in tree]
    return tree


def _evaluator(
    spec: TrainSpec, data: ImageDataset, features: FeatureNet | None, device: torch.device
) -> Evaluator | None:
    if not spec.evaluation.enabled:
        return None
    if features is None:
        raise ValueError(
            "This spec evaluates: give the Trainer a feature network (gan.quality.features.for_dataset)."
        )
    return Evaluator(spec, data, features, device)
