"""`python -m benchmarks.ceiling`: how close a step comes to what this machine can do, and what bounds it.

A step's convolutions and matrix products are recorded, with the tensors that they were given, and run again alone.
Their time is what the library needs for this work: beside it stands what all else of a step costs. Their
floating-point operations a second stand beside those of one large matrix product, which is what the cores can do.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from benchmarks.training import OURS, parser_of, trainer_of
from benchmarks.turns import Spread
from gan.adversarial.precision import precision_on
from gan.events import Tick
from gan.train import Trainer

_SIDE: Final = 2048
"""Of the large matrix product."""
_RECORDED_STEPS: Final = 20


@dataclass
class Kernel:
    """One operation on tensors of one kind, and how often a step has it."""

    run: Callable[[], object]
    flops: float
    times: float = 0


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records every operation with a formula for its floating-point operations, by its arguments."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kernels: dict[tuple[Any, ...], Kernel] = {}

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = dict(kwargs or {})
        out = func(*args, **given)
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            key = (func, *map(_kind, args), *map(_kind, given.values()))
            if key not in self.kernels:
                self.kernels[key] = Kernel(lambda: func(*args, **given), formula(*args, **given, out_val=out))
            self.kernels[key].times += 1
        return out


def main(arguments: Sequence[str] | None = None) -> int:
    """Print each workload's line in each precision."""
    asked = parser_of("benchmarks.ceiling", __doc__, seconds=2.0).parse_args(arguments)
    torch.set_num_threads(asked.threads)
    clock = Clock(torch.device(asked.device))
    print(f"{asked.threads} threads, {asked.device}; the large product: {_SIDE} x {_SIDE} x {_SIDE}")
    for workload in asked.workloads.split(","):
        for precision in dict.fromkeys(precision_on(way, clock.device) for way in OURS.values()):
            steps = Steps(trainer_of(workload, precision, asked.device), clock)
            print(f"{workload} {precision}: {_shares(steps, precision, asked.rounds, asked.seconds)}", flush=True)
    return 0


def _shares(steps: Steps, precision: str, rounds: int, seconds: float) -> str:
    """Return a line: the work of a step, its rate, and what bounds it."""
    kernels, flops = steps.kernels()
    product = _large_product(precision, steps.clock.device)
    own, alone, reached = [], [], []
    for _ in range(rounds):
        step = steps.seconds_a_step(seconds)
        busy = sum(steps.clock.seconds(kernel.run) * kernel.times for kernel in kernels)
        peak = 2 * _SIDE**3 / steps.clock.seconds(product)
        own.append(flops / step / peak)
        alone.append(busy / step)
        reached.append(flops / busy / peak)
    return (
        f"{flops / 1e9:.2f} GFLOP a step, at {Spread.of(own)} of the large product's rate; its convolutions and "
        f"products alone take {Spread.of(alone)} of its time, at {Spread.of(reached)} of that rate"
    )


class Steps:
    """A trainer that is advanced on request."""

    def __init__(self, trainer: Trainer, clock: Clock) -> None:
        self.clock = clock
        self._trainer, self._run = trainer, trainer.run()
        self.seconds_a_step(1.0)

    def seconds_a_step(self, seconds: float) -> float:
        """Train for `seconds` and return the seconds for one step."""
        began = self.clock.now()
        count = self._advance(lambda: time.perf_counter() >= began + seconds)
        return (self.clock.now() - began) / count

    def kernels(self) -> tuple[list[Kernel], float]:
        """Return the operations of a step with their counts, and the floating-point operations of all."""
        until = self._trainer.step + _RECORDED_STEPS
        with _Recorder() as recorder:
            count = self._advance(lambda: self._trainer.step >= until)
        # Operations that occur less than once a step belong to health checks and probes.
        kernels = [replace(k, times=k.times / count) for k in recorder.kernels.values() if k.times >= count]
        return kernels, sum(kernel.flops * kernel.times for kernel in kernels)

    def _advance(self, enough: Callable[[], bool]) -> int:
        """Train until `enough()`. Returns the number of steps."""
        first = self._trainer.step
        for event in self._run:
            if isinstance(event, Tick) and enough():
                break
        return self._trainer.step - first


class Clock:
    """A clock for a device that runs asynchronously."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def now(self) -> float:
        """Return the time in s, after all work of the device is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def seconds(self, call: Callable[[], object], least: float = 0.05) -> float:
        """Return the seconds for one call, measured over many calls after a first one."""
        call()
        began, count = self.now(), 0
        while time.perf_counter() - began < least:
            call()
            count += 1
        return (self.now() - began) / count


def _large_product(precision: str, device: torch.device) -> Callable[[], object]:
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = (torch.randn(_SIDE, _SIDE, device=device).to(dtype) for _ in range(2))
    return lambda: a @ b


def _kind(value: Any) -> Any:
    """Return a key that is equal for two arguments if they mean the same work."""
    if isinstance(value, torch.Tensor):
        return (value.dtype, tuple(value.shape), value.stride())
    return tuple(value) if isinstance(value, list) else value


if __name__ == "__main__":
    sys.exit(main())
