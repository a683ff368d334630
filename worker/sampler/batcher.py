"""The thread that draws: requests for the same generator share forward passes.

A pass always has `CHUNK` rows, and an image does not depend on the other rows. So rows that one request leaves empty
are filled with images of others, and every request gets the same bytes as if it were alone.
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
    """A request in progress: the images drawn so far, and those that are left."""

    def __init__(self, request: DrawRequest) -> None:
        self.checkpoint_id, self._request = request.checkpoint_id, request
        self._wanted = [SampleRequestItem(image.class_id, image.seed, request.truncation) for image in request.images]
        self._drawn: list[Images] = []
        self._next = 0
        self._fits = False

    def require_fit(self, generator: TrainedGenerator) -> None:
        """Raise `ValueError` if the generator cannot draw this request."""
        if not self._fits:
            generator.check(
                self._request.class_ids, [image.seed for image in self._request.images], self._request.truncation
            )
            self._fits = True

    def fits(self, generator: TrainedGenerator) -> bool:
        """Return whether the generator can draw this request."""
        try:
            self.require_fit(generator)
        except ValueError:
            return False
        return True

    @property
    def left(self) -> bool:
        """Whether images are left to draw."""
        return self._next < len(self._wanted)

    def rest(self, most: int) -> list[SampleRequestItem]:
        """Return the next images to draw, at most `most`."""
        return self._wanted[self._next : self._next + most]

    def add(self, images: Images) -> None:
        """Add the next images, drawn."""
        self._drawn.append(images)
        self._next += len(images)

    def images(self) -> Images:
        """Return all images, (N, H, W, C) uint8, once none is left."""
        return np.concatenate(self._drawn)


class Batcher:
    """Draws requests in the batched of arrival; a pass with room also takes later requests for the same generator."""

    def __init__(self, generators: Generators) -> None:
        self._generators = generators
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="gantry-batcher")
        self._waiting: list[BatchedRequest] = []
        self._lock = threading.Lock()

    async def draw(self, request: DrawRequest) -> Images:
        """Return the images of `request`, (N, H, W, C) uint8.

        Raises `ValueError` if the generator cannot draw it, what `Generators.generator` raises, and torch's
        `OutOfMemoryError` if the device is full; then every generator is dropped from memory.
        """
        batched = BatchedRequest(request)
        with self._lock:
            self._waiting.append(batched)
        future = self._thread.submit(self._finish, batched)
        # Also after the client has left: a dropped request must not fill other passes.
        future.add_done_callback(lambda _: self._drop(batched))
        return await asyncio.wrap_future(future)

    def _finish(self, batched: BatchedRequest) -> Images:
        """Draw the images of `batched` that earlier passes have not drawn yet."""
        try:
            if batched.left:
                generator = self._generators.generator(batched.checkpoint_id)
                batched.require_fit(generator)
                while batched.left:
                    self._pass(generator, batched)
        except torch.OutOfMemoryError:
            self._generators.clear()
            raise
        return batched.images()

    def _pass(self, generator: TrainedGenerator, first: BatchedRequest) -> None:
        shares: list[tuple[BatchedRequest, list[SampleRequestItem]]] = []
        room = CHUNK
        for batched in self._for(generator, first):
            shares.append((batched, batched.rest(room)))
            room -= len(shares[-1][1])
            if not room:
                break
        images = generator.draw_together([wanted for _, share in shares for wanted in share])
        for batched, share in shares:
            batched.add(images[: len(share)])
            images = images[len(share) :]

    def _for(self, generator: TrainedGenerator, first: BatchedRequest) -> Iterator[BatchedRequest]:
        """Yield `first`, then the other requests for its checkpoint with images left, the oldest first."""
        yield first
        with self._lock:
            others = [batched for batched in self._waiting if batched is not first]
        for batched in others:
            if batched.checkpoint_id == first.checkpoint_id and batched.left and batched.fits(generator):
                yield batched

    def _drop(self, batched: BatchedRequest) -> None:
        with self._lock:
            self._waiting.remove(batched)
