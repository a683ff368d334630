"""Curves as a picture, and previews as an animation."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, TypeVar

import numpy as np
from PIL import Image

from gantry.palette import colours
from jobs.curves import ReducedCurve
from jobs.errors import RenderingBusyError
from jobs.runtime.limiter import ConcurrencyLimiter

T = TypeVar("T")

_MOST_FRAMES: Final = 120
# Pixels of the longer side.
_LARGEST_FRAME: Final = 720
_FRAME_MS: Final = 120
_LAST_FRAME_MS: Final = 2000

# Who waits for a picture holds one of the threads that answer everybody.
_places: Final = ConcurrencyLimiter(
    8, RenderingBusyError, "As many pictures as may wait to be drawn do; try again in a moment."
)
_matplotlib: Final = threading.Lock()


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """The only one that draws in this process: figures share matplotlib's font and text caches, which are not made
    for threads, and a hundred grids in full colour at once are most of a gigabyte.

    Raises `RenderingBusyError` where as many wait as may.
    """
    with _places.slot(), _matplotlib:
        yield


def curves_png(title: str, curves: Mapping[str, ReducedCurve]) -> bytes:
    """The curves over steps, each in a colour of its own; steps without a finite value are gaps.

    Raises `RenderingBusyError` where too many wait for a picture.
    """
    # Imported at the first picture: matplotlib is a quarter of the time that the API takes to start.
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    with _one_at_a_time():
        figure = Figure(figsize=(8, 4.5), dpi=120, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        for (name, curve), colour in zip(curves.items(), colours(list(curves)).values(), strict=True):
            values = np.where(np.isfinite(curve.values), curve.values, np.nan)
            axes.plot(curve.steps, values, label=name, color=colour, linewidth=1.1)
        axes.set_title(title, loc="left", fontsize=11, parse_math=False)
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
        axes.margins(x=0.01)
        if any(len(curve) for curve in curves.values()):
            axes.legend(frameon=False)
        else:
            axes.text(0.5, 0.5, "no points yet", ha="center", va="center", transform=axes.transAxes)
        picture = io.BytesIO()
        figure.savefig(picture, format="png")
    return picture.getvalue()


def evenly(items: Sequence[T], most: int = _MOST_FRAMES) -> list[T]:
    """At most `most` of the items, evenly spread, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    return [items[i] for i in np.linspace(0, len(items) - 1, most).round().astype(int)]


def animate(pngs: Iterable[bytes], count: int) -> bytes:
    """An endless GIF of the `count` pictures, in order; the last stands longer. Needs one at least.

    Each is asked for when its turn has come, and let go before the next.

    Raises `RenderingBusyError` where too many wait for a picture.
    """
    durations = [_FRAME_MS] * (count - 1) + [_LAST_FRAME_MS]
    film = io.BytesIO()
    with _one_at_a_time():
        first, *rest = (_frame(png) for png in pngs)
        # optimize=False and disposal 1 keep Pillow from merging equal frames, so that frame i stays preview i.
        first.save(film, format="GIF", save_all=True, append_images=rest, duration=durations, loop=0, optimize=False)
    return film.getvalue()


def _frame(png: bytes) -> Image.Image:
    """A preview in 64 colours, no larger than a film need be."""
    frame = Image.open(io.BytesIO(png), formats=("PNG",)).convert("RGB")
    frame.thumbnail((_LARGEST_FRAME, _LARGEST_FRAME))
    return frame.quantize(64)
