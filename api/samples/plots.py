"""Plots of curves, and animations of previews."""

from __future__ import annotations

import io
import logging
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
from PIL import Image

from gantry.palette import colours
from jobs.curves import ReducedCurve
from jobs.errors import RenderingBusyError
from jobs.runtime.limiter import ConcurrencyLimiter

T = TypeVar("T")

_FONT_PACKAGES: Final = ("manimgx_fonts", "manimgx_fonts_cjk")
_MOST_FRAMES: Final = 120
# Pixels of the longer side.
_LARGEST_FRAME: Final = 720
_FRAME_MS: Final = 120
_LAST_FRAME_MS: Final = 2000

# A request that waits for a picture holds one of the threads that serve all requests.
_limiter: Final = ConcurrencyLimiter(
    8, RenderingBusyError, "Too many requests already wait for a picture; try again in a moment."
)
_lock: Final = threading.Lock()


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Draw one picture at a time in this process.

    matplotlib's caches of fonts and texts are not made for threads, and the frames of a hundred animations would take
    most of a gigabyte.

    Raises `RenderingBusyError` if too many requests wait already.
    """
    with _limiter.slot(), _lock:
        yield


def curves_png(title: str, curves: Mapping[str, ReducedCurve]) -> bytes:
    """Return a PNG of the curves over steps, each in its own colour; steps without a finite value are gaps.

    Raises `RenderingBusyError` if too many requests wait for a picture.
    """
    # Imported at the first picture: matplotlib would take a quarter of the time in which the API starts.
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    with _one_at_a_time():
        figure = Figure(figsize=(8, 4.5), dpi=120, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        for (name, curve), colour in zip(curves.items(), colours(list(curves)).values(), strict=True):
            values = np.where(np.isfinite(curve.values), curve.values, np.nan)
            axes.plot(curve.steps, values, label=name, color=colour, linewidth=1.1)
        axes.set_title(title, loc="left", fontsize=11, parse_math=False, fontfamily=_families(title))
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


def _families(text: str) -> list[str]:
    """Return the names of the fonts that `text` may need; matplotlib takes the first that has a character."""
    return ["sans-serif"] if text.isascii() else ["sans-serif", *_noto()]


@cache
def _noto() -> list[str]:
    """Register the Noto fonts with matplotlib, as far as they are installed, and return their names."""
    from matplotlib.font_manager import fontManager  # noqa: PLC0415

    # It tells at each title that the one font for Chinese, Japanese and Korean is thinner than the others.
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    known = len(fontManager.ttflist)
    for spec in map(find_spec, _FONT_PACKAGES):
        for folder in spec.submodule_search_locations or () if spec else ():
            for path in sorted(Path(folder).glob("*.tt[fc]")):
                fontManager.addfont(path)
    return list(dict.fromkeys(font.name for font in fontManager.ttflist[known:]))


def evenly(items: Sequence[T], most: int = _MOST_FRAMES) -> list[T]:
    """Return at most `most` of the items, evenly spread, with the first and the last."""
    if len(items) <= most:
        return list(items)
    return [items[i] for i in np.linspace(0, len(items) - 1, most).round().astype(int)]


def animate(pngs: Iterable[bytes], count: int) -> bytes:
    """Return an endless GIF of the `count` pictures in order, at least one; the last frame is shown longer.

    Each picture is read when its frame is made, and released before the next one.

    Raises `RenderingBusyError` if too many requests wait for a picture.
    """
    durations = [_FRAME_MS] * (count - 1) + [_LAST_FRAME_MS]
    animation = io.BytesIO()
    with _one_at_a_time():
        first, *rest = (_frame(png) for png in pngs)
        # optimize=False and disposal 1 keep Pillow from merging equal frames, so that frame i stays preview i.
        options: dict[str, Any] = {"append_images": rest, "duration": durations, "loop": 0, "optimize": False}
        first.save(animation, format="GIF", save_all=True, **options)
    return animation.getvalue()


def _frame(png: bytes) -> Image.Image:
    """Return a preview in 64 colours, scaled down to `_LARGEST_FRAME` pixels."""
    frame = Image.open(io.BytesIO(png), formats=("PNG",)).convert("RGB")
    frame.thumbnail((_LARGEST_FRAME, _LARGEST_FRAME))
    return frame.quantize(64)
