"""Where the sampler draws: one thread, and forward passes that are shared by all who want the same generator.

A pass has `CHUNK` rows whatever is asked for, and an image does not depend on the rows beside it; so what one wish
leaves empty is filled with what others wait for, and nobody gets other bytes for it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from gan.sample import CHUNK, Images, SampleRequestItem, TrainedGenerator
from worker.sampler.generators import DrawRequest, Generators


class BatchedRequest:
    """A wish under way: what of it is drawn, and what is not yet."""

    def __init__(self, wish: DrawRequest) -> None:
        self.checkpoint_id, self._wish = wish.checkpoint_id, wish
        self._wanted = [SampleRequestItem(image.class_id, image.seed, wish.truncation) for image in wish.images]
        self._drawn: list[Images] = []
        self._next = 0
        self._fits = False

    def require_fit(self, generator: TrainedGenerator) -> None:
        """Raise `ValueError` where the generator cannot draw this."""
        if not self._fits:
            generator.check(self._wish.class_ids, [image.seed for image in self._wish.images], self._wish.truncation)
            self._fits = True

    def fits(self, generator: TrainedGenerator) -> bool:
        """Whether the generator can draw this."""
        try:
            self.require_fit(generator)
        except ValueError:
            return False
        return True

    @property
    def left(self) -> bool:
        """Whether something is still to be drawn."""
        return self._next < len(self._wanted)

    def rest(self, most: int) -> list[SampleRequestItem]:
        """The next images, `most` of them at most."""
        return self._wanted[self._next : self._next + most]

    def add(self, images: Images) -> None:
        """The next images, drawn."""
        self._drawn.append(images)
        self._next += len(images)

    def images(self) -> Images:
        """All of them, (N, H, W, C), once none is left."""
        return np.concatenate(self._drawn)


class Batcher:
    """Draws wishes in the order they came in; a pass with room takes in later ones for the same generator."""

    def __init__(self, generators: Generators) -> None:
        self._generators = generators
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="gantry-easel")
        self._orders: list[BatchedRequest] = []
        self._lock = threading.Lock()

    async def draw(self, wish: DrawRequest) -> Images:
        """The images of `wish`, (N, H, W, C). Raises `ValueError` for what this generator cannot draw, what
        `Generators.generator` raises, and torch's `OutOfMemoryError`, when every generator has been let go.
        """
        order = BatchedRequest(wish)
        with self._lock:
            self._orders.append(order)
        turn = self._thread.submit(self._finish, order)
        # Also where nobody waits any more: what is dropped must not fill other passes.
        turn.add_done_callback(lambda _: self._drop(order))
        return await asyncio.wrap_future(turn)

    def _finish(self, order: BatchedRequest) -> Images:
        """The turn of `order`: draw what earlier turns have not drawn of it already."""
        try:
            if order.left:
                generator = self._generators.generator(order.checkpoint_id)
                order.require_fit(generator)
                while order.left:
                    self._pass(generator, order)
        except torch.OutOfMemoryError:
            self._generators.clear()
            raise
        return order.images()

    def _pass(self, generator: TrainedGenerator, first: BatchedRequest) -> None:
        shares: list[tuple[BatchedRequest, list[SampleRequestItem]]] = []
        room = CHUNK
        for order in self._for(generator, first):
            shares.append((order, order.rest(room)))
            room -= len(shares[-1][1])
            if not room:
                break
        images = generator.draw_together([wanted for _, share in shares for wanted in share])
        for order, share in shares:
            order.add(images[: len(share)])
            images = images[len(share) :]

    def _for(self, generator: TrainedGenerator, first: BatchedRequest) -> Iterator[BatchedRequest]:
        """`first`, and then all others of its checkpoint that still want images, the oldest first."""
        yield first
        with self._lock:
            others = [order for order in self._orders if order is not first]
        for order in others:
            if order.checkpoint_id == first.checkpoint_id and order.left and order.fits(generator):
                yield order

    def _drop(self, order: BatchedRequest) -> None:
        with self._lock:
            self._orders.remove(order)
