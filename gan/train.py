"""The loop: `Trainer.run()` trains and tells what happens; it knows no job, no file and no clock but its tick."""

from __future__ import annotations

import hashlib
import json
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from gan.architectures import build_networks, place
from gan.data import ImageDataset, RealBatches
from gan.ema import Ema
from gan.events import CheckpointDue, Event, PreviewReady, Tick
from gan.game import D_METRICS, G_METRICS, Game, adam
from gan.losses import LOSSES
from gan.randomness import generator, latents
from gan.sample import Generator
from gan.spec import TrainSpec, image_size

METRICS: Final = D_METRICS + G_METRICS
# Steps at most between two ticks: what the device holds of the curves until somebody reads them.
TICK_STEPS: Final = 1_000
# Rows of a preview without classes.
PREVIEW_ROWS: Final = 8
# What may change between a checkpoint and the run that goes on from it: none of it moves a weight.
_NOT_LEARNING: Final = {
    "name", "labels", "preset", "total_steps", "previews", "checkpoints", "resources", "priority", "max_attempts",
}  # fmt: skip


class Diverged(Exception):
    """A loss or a gradient is not finite from `step` on. The updates were vetoed: no weight has moved by one."""

    def __init__(self, step: int, names: list[str]) -> None:
        self.step = step
        super().__init__(f"Not finite at step {step}: {', '.join(names)}. Try a lower learning rate.")


class StateMismatch(ValueError):
    """A checkpoint of another spec, another data set or another version of the spec."""


class Trainer:
    """Plays `spec`'s game on `data`.

    Two runs of the same spec on the same CPU, with the same number of torch's threads and the same torch, give the
    same weights, bit for bit; with other threads, sums are added up in another order, and their last bits differ.
    Raises `StateMismatch` where `state` belongs to another spec or data set.
    """

    def __init__(
        self,
        spec: TrainSpec,
        data: ImageDataset,
        device: torch.device | str = "cpu",
        state: Mapping[str, Any] | None = None,
        tick_seconds: float = 1.0,
    ) -> None:
        self.spec = spec
        self.info = data.info
        self.device = torch.device(device)
        self.step = 0
        self.images_seen = 0
        self._tick_seconds = tick_seconds
        self._reals = RealBatches(data.to(self.device), image_size(spec, data.info), spec.seed)
        self._game = self._set_up()
        self._ema = Ema(self._game.G, spec.ema.half_life_images) if spec.ema.enabled else None
        self._source = generator(spec.seed, "training", device=self.device)
        self._unread = torch.zeros(TICK_STEPS, len(METRICS), device=self.device)
        self._first_unread = 1
        self._diverged: Diverged | None = None
        self._marks: deque[tuple[float, int]] = deque(maxlen=8)
        if state is not None:
            self._restore(state)

    def run(self, stop: Callable[[], bool] = lambda: False) -> Iterator[Event]:
        """Train to `total_steps`, or until `stop()`. It may be left at any event, and run again.

        `stop` is asked after a tick, once all that belongs to its step is told: whoever goes on from there misses
        nothing, as what is left out of a step is not told again.
        A preview before the first step; a tick every `tick_seconds`; previews and checkpoints where the spec says and
        at the end, each after a tick of its own step. Raises `Diverged`, after the tick that shows it.
        """
        self._raise_if_diverged()
        if self.step == 0:
            yield self._preview()
        self._marks.append((time.monotonic(), self.images_seen))
        while self.step < self.spec.total_steps:
            self._advance()
            final = self.step == self.spec.total_steps
            preview = final or self.step % self.spec.previews.every_steps == 0
            checkpoint = final or self.step % self.spec.checkpoints.every_steps == 0
            told = preview or checkpoint or self._tick_is_due()
            if told:
                yield self._read_tick()
                self._raise_if_diverged()
            if preview:
                yield self._preview()
            if checkpoint:
                yield CheckpointDue(self.step, final)
            if told and stop():
                return

    def weights(self) -> dict[str, Tensor]:
        """What samples are drawn from: G_ema, or G where the average is off. Copies, on the CPU."""
        tensors: dict[str, Tensor] = _copy(self._drawn_from().state_dict())
        return tensors

    def state(self) -> dict[str, Any]:
        """All that is needed to go on, tensors (copies, on the CPU) and plain values.

        A state is always of the moment between two steps, so the place inside the alternation is its beginning.
        Raises `Diverged` where the run has: its BatchNorm statistics are no ground to go on from.
        """
        self._raise_if_diverged()
        return {
            "spec": self.spec.model_dump(mode="json"),
            "fingerprint": fingerprint(self.spec, self._reals.digest),
            "versions": {
                "torch": str(torch.__version__),
                "spec": self.spec.spec_version,
                "threads": torch.get_num_threads(),
            },
            "step": self.step,
            "images_seen": self.images_seen,
            "rng": {"device": self.device.type, "state": self._source.get_state()},
            "G": _copy(self._game.G.state_dict()),
            "D": _copy(self._game.D.state_dict()),
            "G_ema": None if self._ema is None else _copy(self._ema.network.state_dict()),
            "optimizer_g": _copy(self._game.optimizer_g.state_dict()),
            "optimizer_d": _copy(self._game.optimizer_d.state_dict()),
        }

    def _set_up(self) -> Game:
        G, D = build_networks(self.spec, self.info)
        for network in (G, D):
            place(network, self.device)
        return Game(
            G=G,
            D=D,
            optimizer_g=adam(G, self.spec.optimizers.g),
            optimizer_d=adam(D, self.spec.optimizers.d),
            loss=LOSSES[self.spec.loss.kind],
            bf16=self.spec.resources.precision == "bf16",
        )

    def _restore(self, state: Mapping[str, Any]) -> None:
        if state["fingerprint"] != fingerprint(self.spec, self._reals.digest):
            raise StateMismatch(
                "This checkpoint was made with another spec, another data set or another version of this program. "
                "Go on with what it was made with, or start anew."
            )
        self.step, self.images_seen = state["step"], state["images_seen"]
        self._first_unread = self.step + 1
        self._game.G.load_state_dict(state["G"])
        self._game.D.load_state_dict(state["D"])
        if self._ema is not None:
            self._ema.network.load_state_dict(state["G_ema"])
        self._game.optimizer_g.load_state_dict(state["optimizer_g"])
        self._game.optimizer_d.load_state_dict(state["optimizer_d"])
        if state["rng"]["device"] == self.device.type:
            self._source.set_state(state["rng"]["state"].cpu())
        else:
            # A CPU's generator cannot go on where a GPU's stopped: a new stream, named by the step.
            self._source = generator(self.spec.seed, "training", self.step, self.device)

    def _advance(self) -> None:
        """One step: d_steps updates of D, then g_steps of G; its metrics stay on the device."""
        n, seen_before = self.spec.batch_size, self.images_seen
        of_d, of_g = [], []
        for _ in range(self.spec.alternation.d_steps):
            real, labels = self._reals.at(self.images_seen, n)
            of_d.append(self._game.d_step(real, labels, self._latents(n)))
            self.images_seen += n
        for _ in range(self.spec.alternation.g_steps):
            labels = self._reals.random_labels(n, self._source)
            of_g.append(self._game.g_step(self._latents(n), labels))
        if self._ema is not None:
            self._ema.update(self._game.G, self.images_seen, self.images_seen - seen_before)
        self.step += 1
        metrics = torch.cat([torch.stack(of_d).mean(0), torch.stack(of_g).mean(0)])
        self._unread[self.step - self._first_unread] = metrics

    def _latents(self, count: int) -> Tensor:
        return latents(self.spec.generator.z_distribution, count, self.spec.generator.z_dim, self._source)

    def _drawn_from(self) -> nn.Module:
        return self._game.G if self._ema is None else self._ema.network

    def _preview(self) -> PreviewReady:
        """The fixed latents, drawn as a sampler would draw them; the generator of training is not touched."""
        per_row, labels = self.spec.previews.per_class, self.info.labels if self.spec.conditional else ()
        rows = len(labels) or PREVIEW_ROWS
        if self.spec.conditional:
            class_ids = [row for row in range(rows) for _ in range(per_row)]
            seeds = [self.spec.seed + i for i in range(per_row)] * rows
        else:
            class_ids, seeds = None, [self.spec.seed + i for i in range(rows * per_row)]
        network = self._drawn_from()
        was_training = network.training
        network.eval()
        images = Generator(network, self.spec, self.info, self.step).draw(class_ids, seeds)
        network.train(was_training)
        return PreviewReady(self.step, images, rows, labels)

    def _tick_is_due(self) -> bool:
        full = self.step - self._first_unread + 1 == TICK_STEPS
        return full or time.monotonic() - self._marks[-1][0] >= self._tick_seconds

    def _read_tick(self) -> Tick:
        """Fetch the unread metrics: the one place where training waits for the device."""
        first, count = self._first_unread, self.step - self._first_unread + 1
        values = self._unread[:count].cpu().numpy().copy()
        self._first_unread = self.step + 1
        (then, seen), now = self._marks[0], time.monotonic()
        self._marks.append((now, self.images_seen))
        bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
        if len(bad) and self._diverged is None:
            names = [name for name, value in zip(METRICS, values[bad[0]], strict=True) if not np.isfinite(value)]
            self._diverged = Diverged(first + int(bad[0]), names)
        rate = (self.images_seen - seen) / max(now - then, 1e-9)
        return Tick(self.step, self.images_seen, rate, first, METRICS, values)

    def _raise_if_diverged(self) -> None:
        if self._diverged is not None:
            raise self._diverged


def fingerprint(spec: TrainSpec, data_digest: str) -> str:
    """sha256 of all that shapes learning: a checkpoint serves only the spec and the images that it was made with."""
    # Defaults are left out, so that a field which a later version adds leaves the checkpoints of this one in use.
    # For this SPEC_VERSION stands in for them: it must be raised when a default changes, or a new field's default is
    # not what was done before there was the field.
    changed = spec.model_dump(mode="json", exclude=_NOT_LEARNING, exclude_defaults=True)
    learning = json.dumps(changed | {"spec_version": spec.spec_version}, sort_keys=True)
    return hashlib.sha256(f"{learning}\n{data_digest}".encode()).hexdigest()


def _copy(tree: Any) -> Any:
    """`tree` with every tensor copied to the CPU, its memory layout kept."""
    if isinstance(tree, Tensor):
        return tree.detach().to("cpu", copy=True)
    if isinstance(tree, Mapping):
        return {key: _copy(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_copy(value) for value in tree]
    return tree
