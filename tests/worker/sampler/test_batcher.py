"""Requests that are drawn in one batch: the same bytes as alone, in fewer passes; an invalid one fails alone."""

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
    """Return two generators with random weights, wide enough for the kernels of real sizes."""
    made = {}
    for seed, name in enumerate(("ckpt_a", "ckpt_b")):
        torch.manual_seed(seed)
        body = {"dataset": INFO.name, "conditioning": {"kind": "concat", "generator": "concat"}}
        spec = resolve(body | {"generator": {"base_channels": 16}})
        made[name] = TrainedGenerator.load(save_weights(build_networks(spec, INFO)[0].state_dict(), spec, INFO, 1))
    return made


class HeldGenerators:
    """A double of `Generators` that waits for `may_draw` before it draws, and records the size of each pass."""

    def __init__(self, generators: dict[str, TrainedGenerator]) -> None:
        self._generators = generators
        self.may_draw, self.began = threading.Event(), threading.Event()
        self.passes: list[int] = []
        self.cleared = 0
        self.out_of_memory = False

    def generator(self, checkpoint_id: str) -> Any:
        real = self._generators[checkpoint_id]

        def draw_together(wanted: list[SampleRequestItem]) -> Images:
            self.began.set()
            assert self.may_draw.wait(60)
            if self.out_of_memory:
                raise torch.OutOfMemoryError
            self.passes.append(len(wanted))
            return real.draw_together(wanted)

        return SimpleNamespace(check=real.check, draw_together=draw_together)

    def clear(self) -> None:
        self.cleared += 1


@pytest.fixture
def held(generators: dict[str, TrainedGenerator]) -> Iterator[HeldGenerators]:
    held = HeldGenerators(generators)
    yield held
    held.may_draw.set()


def request(pairs: list[tuple[int | None, int]], checkpoint: str = "ckpt_a", truncation: float = 1.0) -> DrawRequest:
    images = [{"class_id": class_id, "seed": seed} for class_id, seed in pairs]
    body = {"checkpoint_id": checkpoint, "images": images, "truncation": truncation, "format": "npz"}
    return DrawRequest.model_validate(body)


def draw_all(held: HeldGenerators, requests: list[DrawRequest]) -> list[Any]:
    """Return the result of each request; the first is in progress when the others arrive."""

    async def draw() -> list[Any]:
        batcher = Batcher(held)  # type: ignore[arg-type]
        tasks = [asyncio.create_task(batcher.draw(requests[0]))]
        await asyncio.to_thread(held.began.wait, 60)
        tasks += [asyncio.create_task(batcher.draw(request)) for request in requests[1:]]
        await asyncio.sleep(0)
        held.may_draw.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    return asyncio.run(draw())


def draw_alone(generators: dict[str, TrainedGenerator], request: DrawRequest) -> Images:
    return generators[request.checkpoint_id].draw(
        request.class_ids, [i.seed for i in request.images], request.truncation
    )


def test_each_request_gets_the_bytes_that_it_gets_alone(
    held: HeldGenerators, generators: dict[str, TrainedGenerator]
) -> None:
    requests = [
        request([(3, 7)]),
        request([(i % 10, i) for i in range(40)]),
        request([(1, 0), (2, 5), (3, 7)], truncation=0.5),
        request([(9, 2**40 + i) for i in range(CHUNK)]),
        request([(5, i) for i in range(10)], "ckpt_b"),
        request([(5, i) for i in range(10)]),
        request([(0, 1)] * 7, truncation=0.25),
        request([(i % 3, 9) for i in range(70)]),
    ]
    for one, images in zip(requests, draw_all(held, requests), strict=True):
        np.testing.assert_array_equal(images, draw_alone(generators, one))


def test_small_requests_share_a_pass(held: HeldGenerators) -> None:
    draw_all(held, [request([(0, 0)])] + [request([(1, seed)] * 4) for seed in range(8)])
    assert held.passes == [1, CHUNK]


def test_the_last_pass_of_a_large_request_is_shared(held: HeldGenerators) -> None:
    draw_all(held, [request([(0, seed) for seed in range(CHUNK + 2)]), request([(1, 0)] * 10)])
    assert held.passes == [CHUNK, 12]


def test_requests_of_different_generators_share_no_pass_and_take_turns(held: HeldGenerators) -> None:
    draw_all(
        held,
        [request([(0, 0)]), request([(1, 0)] * 2, "ckpt_b"), request([(1, 0)] * 3), request([(1, 0)] * 4, "ckpt_b")],
    )
    assert held.passes == [1, 6, 3]


def test_an_invalid_request_fails_alone(held: HeldGenerators, generators: dict[str, TrainedGenerator]) -> None:
    requests = [request([(0, 0)]), request([(10, 0)]), request([(None, 0)]), request([(4, 1)])]
    first, unknown, unlabelled, last = draw_all(held, requests)
    assert isinstance(unknown, ValueError) and isinstance(unlabelled, ValueError)
    np.testing.assert_array_equal(first, draw_alone(generators, requests[0]))
    np.testing.assert_array_equal(last, draw_alone(generators, requests[3]))


def test_out_of_memory_on_the_device_clears_all_generators(held: HeldGenerators) -> None:
    held.out_of_memory = True
    (error,) = draw_all(held, [request([(0, 0)])])
    assert isinstance(error, torch.OutOfMemoryError) and held.cleared == 1


def test_a_cancelled_request_is_not_drawn(held: HeldGenerators) -> None:
    async def cancel_one() -> None:
        batcher = Batcher(held)  # type: ignore[arg-type]
        first = asyncio.create_task(batcher.draw(request([(0, 0)])))
        await asyncio.to_thread(held.began.wait, 60)
        cancelled = asyncio.create_task(batcher.draw(request([(1, 0)] * 5)))
        await asyncio.sleep(0)
        cancelled.cancel()
        await asyncio.gather(cancelled, return_exceptions=True)
        held.may_draw.set()
        await first
        await batcher.draw(request([(2, 0)] * 2))

    asyncio.run(cancel_one())
    assert held.passes == [1, 2]
