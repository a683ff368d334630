"""Contestants that take turns: each in a process of its own, warm, asleep until it is its turn.

One at a time has the machine, in an order that changes from round to round; what counts is the ratio of two
neighbours' rates in a round, and its median over the rounds.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median
from types import TracebackType
from typing import Self


@dataclass(frozen=True)
class Spread:
    """Of one figure's rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """All of `values`, of which there is at least one."""
        return cls(median(values), min(values), max(values))

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f} to {self.high:.2f})"


class Contestant:
    """`python -m` with `arguments`, a process that answers every line of seconds with its rate, as `answer` does."""

    def __init__(self, arguments: Sequence[str], threads: int) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "GOMP_SPINCOUNT": "10000"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        if kind is not None:
            self._process.kill()
        self._process.wait()

    def rate(self, seconds: float) -> float:
        """Return the rate per second, measured over about `seconds`. Raises `RuntimeError` if the process ended."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{seconds}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self._process.args!r} ended with {self._process.wait()}.")
        return float(answer)


def answer(measure: Callable[[float], float]) -> None:
    """Read lines of seconds from stdin and print the rate for each, until stdin is closed."""
    for line in sys.stdin:
        print(measure(float(line)), flush=True)


def in_turn(
    contestants: Mapping[str, Sequence[str]], rounds: int, seconds: float, threads: int
) -> dict[str, list[float]]:
    """Each contestant's rates, a round each, after a turn of warming up."""
    with ExitStack() as stack:
        awake = {name: stack.enter_context(Contestant(arguments, threads)) for name, arguments in contestants.items()}
        for one in awake.values():
            one.rate(seconds / 4)
        rates: dict[str, list[float]] = {name: [] for name in awake}
        names = list(awake)
        for number in range(rounds):
            turn = number % len(names)
            for name in names[turn:] + names[:turn]:
                rates[name].append(awake[name].rate(seconds))
        return rates


def ratios(rates: Mapping[str, Sequence[float]], base: str) -> dict[str, Spread]:
    """Each contestant's rate over that of `base`, round by round."""
    return {
        name: Spread.of([mine / its for mine, its in zip(own, rates[base], strict=True)])
        for name, own in rates.items()
    }
