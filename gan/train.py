"""The training loop: `Trainer.run()` trains and yields events. It depends on no job and no file."""

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
from gan.adversarial.state import METRICS, TrainingState, metrics_of
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

# The most steps between two ticks: the size of the buffer of metrics on the device.
TICK_STEPS: Final = 1_000
# The columns of "unseen" in checkpoints from before the names of the metrics were kept with them.
_METRICS_WITHOUT_NAMES: Final = (
    "loss_d", "d_accuracy", "real_logit", "fake_logit", "penalty_d", "class_loss_d", "grad_norm_d", "loss_g",
    "grad_norm_g",
)  # fmt: skip
# The fields that may differ between a checkpoint and the run that continues from it: none of them affects a weight.
_NOT_LEARNING: Final = {
    "name", "labels", "preset", "total_steps", "evaluation", "previews", "checkpoints", "resources", "priority",
    "max_attempts", "max_runtime_seconds",
}  # fmt: skip


class DivergedError(Exception):
    """Losses or gradients are not finite, and rolling back did not help.

    `step` is the first step with such a loss or gradient.
    """

    def __init__(self, step: int, why: str) -> None:
        self.step = step
        super().__init__(why)


class StateMismatchError(ValueError):
    """A checkpoint belongs to another spec, another data set or another version of the spec."""


class Trainer:
    """A training run of `spec` on `data`.

    Two runs of the same spec on the same CPU, with the same version of torch and the same number of threads, give the
    same weights, bit for bit. With another number of threads the order of sums changes, and the last bits differ.

    `state` is the result of `Trainer.state`, from which the run continues. A tick comes at least every
    `tick_seconds`. `features` is the feature network of the evaluations. Raises `StateMismatchError` if `state`
    belongs to another spec or data set, and `ValueError` if the spec evaluates and there are no `features`.
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
        """Why the safeguards ended the run early, one sentence; None if they did not."""
        self._tick_seconds = tick_seconds
        self._state = TrainingState(spec, data, self.device, ranks)
        self.health = HealthMonitor(spec, data.info)
        self._prober = Prober(spec, data, self.device)
        self._evaluator = _evaluator(spec, data, features, self.device)
        self.metrics = metrics_of(spec)
        """The names of the metrics of each step."""
        # The metrics since the last tick, one row per step, on the device.
        self._unread = torch.zeros(TICK_STEPS, len(self.metrics), device=self.device)
        self._first_unread = 1
        # The metrics since the last check of health, on the CPU.
        self._unchecked = MetricBuffer(self.metrics)
        self._diverged: DivergedError | None = None
        # (time, images seen) at the last ticks, to compute images per second.
        self._marks: deque[tuple[float, int]] = deque(maxlen=8)
        if state is not None:
            self._restore(state)
        # The weights to roll back to.
        self._last_good = copied(self._state.learned())

    @property
    def step(self) -> int:
        """The number of steps done."""
        return self._state.step

    @property
    def images_seen(self) -> int:
        """The number of real images shown to D."""
        return self._state.images_seen

    @property
    def best_step(self) -> int | None:
        """The step of the best evaluation so far, for which a checkpoint was due; None before the first one."""
        return None if self.health.best is None else self.health.best.step

    @property
    def finished(self) -> bool:
        """Whether the run is over: all steps are done, or the safeguards ended it early."""
        return self.step >= self.spec.total_steps or self.ended_early is not None

    def run(self, stop: Callable[[], bool] = lambda: False) -> Iterator[Event]:
        """Train until the last step, or until `stop()` returns true, and yield events.

        There are a preview and an evaluation before the first step; a tick at least every `tick_seconds`; previews,
        evaluations and checkpoints at the steps of the spec and at the end, each after a tick of the same step.
        `stop` is called after a tick and all other events of its step, because a later call of `run` does not repeat
        events of that step. The caller may leave the generator at any event and call `run` again.

        Raises `DivergedError` after the tick that shows it.
        """
        self._raise_if_diverged()
        if self.step == 0:
            yield self._preview()
            yield from self._evaluate()
        self._marks.append((time.monotonic(), self.images_seen))
        while not self.finished:
            self._advance()
            ticked = self._tick_due()
            if ticked:
                yield self._read_tick()
                yield from self._check_health()
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
                self._update_last_good()
                yield CheckpointDue(self.step, self.finished, best)
            if ticked and self.ranks.broadcast(stop()):
                return

    def weights(self) -> dict[str, Tensor]:
        """Return the weights that samples are drawn from: G_ema, or G if the average is off. Copies, on the CPU."""
        tensors: dict[str, Tensor] = copied(self._state.sampled.state_dict())
        return tensors

    @contextmanager
    def sampling(self) -> Iterator[TrainedGenerator]:
        """Yield the current generator that samples are drawn from; inside the block it is in eval mode."""
        network = self._state.sampled
        with in_eval(network):
            yield TrainedGenerator(network, self.spec, self.info, self.step)

    def state(self) -> dict[str, Any]:
        """Return all that is needed to continue after this step: tensors (copies, on the CPU) and plain values.

        Raises `DivergedError` if the run has diverged.
        """
        self._raise_if_diverged()
        unchecked = self._unchecked.joined(MetricRows(self.metrics, self._unread_rows()))
        # These keys are the format of checkpoints, and stay as the first version wrote them.
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
                "Continue it with the same spec, data set and version, or start a new run."
            )
        self._state.load(state["play"])
        self.health.load(state["health"])
        names = state.get("unseen_metrics", _METRICS_WITHOUT_NAMES)
        self._unchecked.append(MetricRows(tuple(names), state["unseen"].numpy()))
        self.ended_early = state["ended_early"]
        self._first_unread = self.step + 1

    def _advance(self) -> None:
        """Do one step; its metrics stay on the device."""
        metrics = self._state.advance()
        self._unread[self.step - self._first_unread] = metrics

    def _due(self, section: str) -> bool:
        """Return whether the event of this section of the spec is due now; each is also due at the end."""
        return self.finished or self.step % getattr(self.spec, section).every_steps == 0

    def _tick_due(self) -> bool:
        """Return whether a tick is due.

        The steps of health checks and of all other events do not depend on the clock; only additional ticks do.
        """
        sections = ["previews", "checkpoints"] + ["evaluation"] * self.spec.evaluation.enabled
        full = self.step - self._first_unread + 1 == TICK_STEPS
        if full or self._loss_check_due() or self._probe_due() or any(self._due(section) for section in sections):
            return True
        # Several ranks must tick at the same steps, without communication in every step.
        return self.ranks.count == 1 and time.monotonic() - self._marks[-1][0] >= self._tick_seconds

    def _loss_check_due(self) -> bool:
        return self.finished or self.step % self.spec.safeguards.every_steps == 0

    def _probe_due(self) -> bool:
        return self.step % self.spec.safeguards.probe_every_steps == 0

    def _read_tick(self) -> Tick:
        """Read the metrics since the last tick. Only here does training wait for the device."""
        first, values = self._first_unread, self._unread_rows()
        self._first_unread = self.step + 1
        self._unchecked.append(MetricRows(self.metrics, values))
        (then, seen), now = self._marks[0], time.monotonic()
        self._marks.append((now, self.images_seen))
        rate = (self.images_seen - seen) / max(now - then, 1e-9)
        return Tick(self.step, self.images_seen, rate, first, self.metrics, values)

    def _unread_rows(self) -> np.ndarray[Any, np.dtype[np.float32]]:
        return self._unread[: self.step - self._first_unread + 1].cpu().numpy().copy()

    def _check_health(self) -> Iterator[HealthChanged]:
        """Pass the losses since the last check, and a probe if one is due, to health, and act on the findings."""
        before, raised = self._verdict(), []
        if self._loss_check_due():
            names, values = self._unchecked.take()
            raised += self.health.add_losses(self.step - len(values) + 1, names, values)
        if self._probe_due():
            raised += self.health.add_probe(self._prober.probe(self._state.sampled, self._state.d.network, self.step))
        yield from self._act_and_report(before, raised)

    def _evaluate(self) -> Iterator[Evaluated | HealthChanged]:
        """Evaluate the generator and act on the findings; do nothing if the spec does not evaluate."""
        if self._evaluator is None:
            return
        weights: Literal["ema", "raw"] = "raw" if self._state.ema is None else "ema"
        with self.sampling() as trained:
            result = self._evaluator.evaluate(trained, self.step, self.images_seen, weights)
        if self.finished and self.spec.evaluation.train_on_fakes:
            result = self._with_classifier_accuracy(result)
        before = self._verdict()
        raised = self.health.add_evaluation(result)
        yield Evaluated(self.step, result, best=self.best_step == self.step)
        yield from self._act_and_report(before, raised)

    def _with_classifier_accuracy(self, result: EvaluationResult) -> EvaluationResult:
        """Return `result` plus the accuracy on reals of a classifier that is trained on fakes alone."""
        with self.sampling() as trained:
            accuracy = classifier_trained_on_fakes(trained, self._data, self.spec.seed)
        return replace(result, metrics={**result.metrics, "accuracy_trained_on_fakes": accuracy})

    def _act_and_report(self, before: object, raised: list[HealthFinding]) -> Iterator[HealthChanged]:
        """Act on health's findings. Yield an event if they differ from `before`, a result of `_verdict`."""
        self._act()
        if self._verdict() != before:
            yield HealthChanged(self.step, self.health.summary, self.health.findings, tuple(raised))

    def _verdict(self) -> object:
        return self.health.summary, self.health.findings

    def _act(self) -> None:
        """Do what the safeguards require. Every such action has a finding that is reported."""
        action = self.ranks.broadcast(self.health.action)
        match action.kind:
            case "fail":
                self._diverged = DivergedError(action.step, action.why)
            case "stop":
                self.ended_early = action.why
            case "roll_back" if self.finished and any(f.code == "non_finite" for f in self.health.findings):
                # No step is left to train the older weights.
                self._diverged = DivergedError(action.step, action.why)
            case "roll_back":
                self._state.load_learned(self._last_good)
                self._state.rate_scale /= 2
                self.health.add_roll_back(self.step)

    def _update_last_good(self) -> None:
        """Copy the weights to roll back to, if health has no complaint and all weights are finite."""
        if self.health.verdict in ("unknown", "healthy") and self._state.finite:
            self._last_good = copied(self._state.learned())

    def _raise_if_diverged(self) -> None:
        if self._diverged is not None:
            raise self._diverged

    def _preview(self) -> PreviewReady:
        """Draw the fixed latents as a sampler draws them; the random numbers of training are not used."""
        with self.sampling() as trained:
            return PreviewReady(self.step, *trained.overview(self.spec.previews.per_class, self.spec.seed))


def fingerprint(spec: TrainSpec, data_digest: str) -> str:
    """Return the sha256 of all that affects learning. A checkpoint fits only a spec and images with the same one."""
    # Default values are left out, so that checkpoints stay valid when a later version adds a field. In exchange,
    # SPEC_VERSION must be raised when a default changes, and when the default of a new field is not the behaviour
    # from before the field existed.
    changed = spec.model_dump(mode="json", exclude=_NOT_LEARNING, exclude_defaults=True)
    length = {"total_steps": spec.total_steps} if spec.scheduled else {}
    learning = json.dumps(changed | length | {"spec_version": spec.spec_version}, sort_keys=True)
    return hashlib.sha256(f"{learning}\n{data_digest}".encode()).hexdigest()


def copied(tree: Any) -> Any:
    """Return a copy of nested mappings and lists. Tensors are copied to the CPU and keep their memory layout."""
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
            "A spec with evaluation.enabled needs a feature network: pass features=, such as the result of "
            "gan.quality.features.for_dataset."
        )
    return Evaluator(spec, data, features, device)
