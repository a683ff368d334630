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

from gan.sample import CHUNK, Generator, Images, Wanted
from worker.studio import Draw, Studio


class Order:
    """A wish under way: what of it is drawn, and what is not yet."""

    def __init__(self, wish: Draw) -> None:
        self.checkpoint_id, self._wish = wish.checkpoint_id, wish
        self._wanted = [Wanted(image.class_id, image.seed, wish.truncation) for image in wish.images]
        self._drawn: list[Images] = []
        self._next = 0
        self._fits = False

    def require_fit(self, generator: Generator) -> None:
        """Raise `ValueError` where the generator cannot draw this."""
        if not self._fits:
            generator.check(self._wish.class_ids, [image.seed for image in self._wish.images], self._wish.truncation)
            self._fits = True

    def fits(self, generator: Generator) -> bool:
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

    def rest(self, most: int) -> list[Wanted]:
        """The next images, `most` of them at most."""
        return self._wanted[self._next : self._next + most]

    def add(self, images: Images) -> None:
        """The next images, drawn."""
        self._drawn.append(images)
        self._next += len(images)

    def images(self) -> Images:
        """All of them, (N, H, W, C), once none is left."""
        return np.concatenate(self._drawn)


class Easel:
    """Draws wishes in the order they came in; a pass with room takes in later ones for the same generator."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="gantry-easel")
        self._orders: list[Order] = []
        self._lock = threading.Lock()

    async def draw(self, wish: Draw) -> Images:
        """The images of `wish`, (N, H, W, C). Raises `ValueError` for what this generator cannot draw, what
        `Studio.generator` raises, and torch's `OutOfMemoryError`, when every generator has been let go.
        """
        order = Order(wish)
        with self._lock:
            self._orders.append(order)
        turn = self._thread.submit(self._finish, order)
        # Also where nobody waits any more: what is dropped must not fill other passes.
        turn.add_done_callback(lambda _: self._drop(order))
        return await asyncio.wrap_future(turn)

    def _finish(self, order: Order) -> Images:
        """The turn of `order`: draw what earlier turns have not drawn of it already."""
        try:
            if order.left:
                generator = self._studio.generator(order.checkpoint_id)
                order.require_fit(generator)
                while order.left:
                    self._pass(generator, order)
        except torch.OutOfMemoryError:
            self._studio.clear()
            raise
        return order.images()

    def _pass(self, generator: Generator, first: Order) -> None:
        shares: list[tuple[Order, list[Wanted]]] = []
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

    def _for(self, generator: Generator, first: Order) -> Iterator[Order]:
        """`first`, and then all others of its checkpoint that still want images, the oldest first."""
        yield first
        with self._lock:
            others = [order for order in self._orders if order is not first]
        for order in others:
            if order.checkpoint_id == first.checkpoint_id and order.left and order.fits(generator):
                yield order

    def _drop(self, order: Order) -> None:
        with self._lock:
            self._orders.remove(order)
