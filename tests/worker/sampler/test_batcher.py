"""Wishes that are drawn together: the bytes of each alone, in fewer passes; and nobody pays for another's mistake."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from gan.architectures import build_networks
from gan.checkpoint import save_weights
from gan.sample import CHUNK, Images, SampleRequestItem, TrainedGenerator
from gan.spec import BUILTIN_DATASETS, resolve
from worker.sampler.batcher import Batcher
from worker.sampler.generators import DrawRequest

INFO = BUILTIN_DATASETS["fashion-mnist-mini"]


@pytest.fixture(scope="module")
def generators() -> dict[str, TrainedGenerator]:
    """Two of random weights, wide enough for the kernels that real sizes get."""
    made = {}
    for seed, name in enumerate(("ckpt_a", "ckpt_b")):
        torch.manual_seed(seed)
        body = {"dataset": INFO.name, "conditioning": {"kind": "concat", "generator": "concat"}}
        spec = resolve(body | {"generator": {"base_channels": 16}})
        made[name] = TrainedGenerator.load(save_weights(build_networks(spec, INFO)[0].state_dict(), spec, INFO, 1))
    return made


class Held:
    """A double of `Generators` whose generators draw only when they may, and count their passes."""

    def __init__(self, generators: dict[str, TrainedGenerator]) -> None:
        self._generators = generators
        self.go, self.began = threading.Event(), threading.Event()
        self.passes: list[int] = []
        self.cleared = 0
        self.full = False

    def generator(self, checkpoint_id: str) -> Any:
        real = self._generators[checkpoint_id]

        def draw_together(wanted: list[SampleRequestItem]) -> Images:
            self.began.set()
            assert self.go.wait(60)
            if self.full:
                raise torch.OutOfMemoryError
            self.passes.append(len(wanted))
            return real.draw_together(wanted)

        return SimpleNamespace(check=real.check, draw_together=draw_together)

    def clear(self) -> None:
        self.cleared += 1


@pytest.fixture
def held(generators: dict[str, TrainedGenerator]) -> Iterator[Held]:
    held = Held(generators)
    yield held
    held.go.set()


def wish(pairs: list[tuple[int | None, int]], checkpoint: str = "ckpt_a", truncation: float = 1.0) -> DrawRequest:
    images = [{"class_id": class_id, "seed": seed} for class_id, seed in pairs]
    body = {"checkpoint_id": checkpoint, "images": images, "truncation": truncation, "format": "npz"}
    return DrawRequest.model_validate(body)


def together(held: Held, wishes: list[DrawRequest]) -> list[Any]:
    """Return the result of each request; the first is in progress when the others arrive."""

    async def draw() -> list[Any]:
        batcher = Batcher(held)  # type: ignore[arg-type]
        tasks = [asyncio.create_task(batcher.draw(wishes[0]))]
        await asyncio.to_thread(held.began.wait, 60)
        tasks += [asyncio.create_task(batcher.draw(wish)) for wish in wishes[1:]]
        await asyncio.sleep(0)
        held.go.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    return asyncio.run(draw())


def alone(generators: dict[str, TrainedGenerator], wish: DrawRequest) -> Images:
    return generators[wish.checkpoint_id].draw(wish.class_ids, [i.seed for i in wish.images], wish.truncation)


def test_each_gets_the_bytes_it_would_get_alone(held: Held, generators: dict[str, TrainedGenerator]) -> None:
    wishes = [
        wish([(3, 7)]),
        wish([(i % 10, i) for i in range(40)]),
        wish([(1, 0), (2, 5), (3, 7)], truncation=0.5),
        wish([(9, 2**40 + i) for i in range(CHUNK)]),
        wish([(5, i) for i in range(10)], "ckpt_b"),
        wish([(5, i) for i in range(10)]),
        wish([(0, 1)] * 7, truncation=0.25),
        wish([(i % 3, 9) for i in range(70)]),
    ]
    for one, images in zip(wishes, together(held, wishes), strict=True):
        np.testing.assert_array_equal(images, alone(generators, one))


def test_small_wishes_share_a_pass(held: Held) -> None:
    together(held, [wish([(0, 0)])] + [wish([(1, seed)] * 4) for seed in range(8)])
    assert held.passes == [1, CHUNK]


def test_a_large_wish_leaves_its_last_pass_to_others(held: Held) -> None:
    together(held, [wish([(0, seed) for seed in range(CHUNK + 2)]), wish([(1, 0)] * 10)])
    assert held.passes == [CHUNK, 12]


def test_different_generators_share_nothing_and_go_in_turn(held: Held) -> None:
    together(held, [wish([(0, 0)]), wish([(1, 0)] * 2, "ckpt_b"), wish([(1, 0)] * 3), wish([(1, 0)] * 4, "ckpt_b")])
    assert held.passes == [1, 6, 3]


def test_a_wish_that_cannot_be_fails_alone(held: Held, generators: dict[str, TrainedGenerator]) -> None:
    wishes = [wish([(0, 0)]), wish([(10, 0)]), wish([(None, 0)]), wish([(4, 1)])]
    first, unknown, unlabelled, last = together(held, wishes)
    assert isinstance(unknown, ValueError) and isinstance(unlabelled, ValueError)
    np.testing.assert_array_equal(first, alone(generators, wishes[0]))
    np.testing.assert_array_equal(last, alone(generators, wishes[3]))


def test_a_full_device_lets_every_generator_go(held: Held) -> None:
    held.full = True
    (error,) = together(held, [wish([(0, 0)])])
    assert isinstance(error, torch.OutOfMemoryError) and held.cleared == 1


def test_what_nobody_waits_for_any_more_is_not_drawn(held: Held) -> None:
    async def leave() -> None:
        batcher = Batcher(held)  # type: ignore[arg-type]
        first = asyncio.create_task(batcher.draw(wish([(0, 0)])))
        await asyncio.to_thread(held.began.wait, 60)
        left = asyncio.create_task(batcher.draw(wish([(1, 0)] * 5)))
        await asyncio.sleep(0)
        left.cancel()
        await asyncio.gather(left, return_exceptions=True)
        held.go.set()
        await first
        await batcher.draw(wish([(2, 0)] * 2))

    asyncio.run(leave())
    assert held.passes == [1, 2]
