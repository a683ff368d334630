"""Sampling from a trained generator: seeds and classes in, pixels or PNG files out.

Only this module converts the range [-1, 1] of the networks back to pixels 0..255.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn

from gan import checkpoint, lettering
from gan.architectures import build_networks, place_network
from gan.data import margins
from gan.randomness import generator, latents
from gan.spec import TrainSpec
from gan.spec.catalog import DatasetInfo

Images = npt.NDArray[np.uint8]

# Every forward pass has this many rows. Kernels choose their order of summation by the shape of the batch, and an
# image must not depend on the other images of the same call or of concurrent requests.
CHUNK: Final = 32
# The number of rows of an overview without classes.
UNLABELLED_ROWS: Final = 8


class SampleRequestItem(NamedTuple):
    """The request for one image. Together with the weights it determines the image."""

    class_id: int | None
    seed: int
    truncation: float


@dataclass(frozen=True, eq=False)
class TrainedGenerator:
    """A generator network in eval mode, with the spec and the data set that sampling needs."""

    network: nn.Module
    spec: TrainSpec
    info: DatasetInfo
    step: int

    @classmethod
    def load(cls, source: str | PathLike[str] | bytes, device: torch.device | str = "cpu") -> TrainedGenerator:
        """Load the output of `checkpoint.save_weights`, given as a path or as bytes.

        Raises `CheckpointUnreadableError`, and `FileNotFoundError` if there is no file.
        """
        weights = checkpoint.load_weights(source)
        G, _ = build_networks(weights.spec, weights.info)
        try:
            G.load_state_dict(weights.tensors)
        except RuntimeError as error:
            raise checkpoint.CheckpointUnreadableError(
                f"These weights do not fit the spec in the same file: {error}"
            ) from error
        place_network(G.requires_grad_(False).eval(), device)
        return cls(G, weights.spec, weights.info, weights.step)

    def draw(self, class_ids: Sequence[int] | None, seeds: Sequence[int], truncation: float = 1.0) -> Images:
        """Return one image per seed: uint8 (N, H, W, C) at the size of the data set.

        Image i depends on (weights, class_ids[i], seeds[i], truncation) alone. `class_ids` is None for an
        unconditional generator. `truncation` in (0, 1] scales z; a smaller value gives less variety. Raises
        `ValueError` as `check` does.
        """
        self.check(class_ids, seeds, truncation)
        classes = [None] * len(seeds) if class_ids is None else class_ids
        items = [SampleRequestItem(*pair, truncation) for pair in zip(classes, seeds, strict=True)]
        passes = [self._draw_chunk(items[i : i + CHUNK]) for i in range(0, len(items), CHUNK)]
        return to_pixels(torch.cat(passes), self.info.height, self.info.width)

    def draw_together(self, items: Sequence[SampleRequestItem]) -> Images:
        """Return at most `CHUNK` images from one forward pass, each equal to that of `draw`.

        Each item must have passed `check`.
        """
        return to_pixels(self._draw_chunk(items), self.info.height, self.info.width)

    def check(self, class_ids: Sequence[int] | None, seeds: Sequence[int], truncation: float) -> None:
        """Raise `ValueError` if `draw` does not accept these arguments."""
        if not seeds:
            raise ValueError("There must be at least one seed.")
        if not 0.0 < truncation <= 1.0:
            raise ValueError(f"truncation is {truncation}; it must be above 0 and at most 1.")
        if (class_ids is not None) != self.spec.conditional:
            kind = "needs a class for each image" if self.spec.conditional else "has no classes"
            raise ValueError(f"This generator {kind}.")
        if class_ids is None:
            return
        if len(class_ids) != len(seeds):
            raise ValueError(f"There are {len(class_ids)} classes for {len(seeds)} seeds; give one class per seed.")
        if unknown := [c for c in class_ids if not 0 <= c < len(self.info.classes)]:
            raise ValueError(f"There is no class {unknown[0]}; class ids go from 0 to {len(self.info.classes) - 1}.")

    def overview(self, per_row: int, seed: int) -> tuple[Images, int, tuple[str, ...]]:
        """Return images (N, H, W, C), the number of rows, and the label of each row.

        There is one row per class, each of the `per_row` seeds from `seed` on. An unconditional generator gives
        `UNLABELLED_ROWS` rows of consecutive seeds and no labels.
        """
        if not self.spec.conditional:
            count = UNLABELLED_ROWS * per_row
            return self.draw(None, range(seed, seed + count)), UNLABELLED_ROWS, ()
        rows = len(self.info.classes)
        class_ids = [row for row in range(rows) for _ in range(per_row)]
        return self.draw(class_ids, list(range(seed, seed + per_row)) * rows), rows, self.info.labels

    def _draw_chunk(self, items: Sequence[SampleRequestItem]) -> Tensor:
        """Return (n, C, S, S) in [-1, 1], for n up to `CHUNK`."""
        z = torch.stack([self._latent(item.seed) * item.truncation for item in items])
        labels = torch.tensor([item.class_id for item in items]) if self.spec.conditional else None
        return self._forward(z, labels)

    def _forward(self, z: Tensor, labels: Tensor | None) -> Tensor:
        """Run G on z (n, z_dim), padded to `CHUNK` rows. Return (n, C, S, S)."""
        device = next(self.network.parameters()).device
        padding = CHUNK - len(z)
        full_z = torch.cat([z, z.new_zeros(padding, z.shape[1])]).to(device)
        full_labels = None if labels is None else torch.cat([labels, labels.new_zeros(padding)]).to(device)
        with torch.inference_mode():
            images: Tensor = self.network(full_z, full_labels)
        return images[: len(z)]

    def _latent(self, seed: int) -> Tensor:
        """Return z of one image, (z_dim,). It is drawn on the CPU, so that it is the same for every device."""
        g = self.spec.generator
        return latents(g.z_distribution, 1, g.z_dim, generator(seed, "image"))[0]


def to_pixels(images: Tensor, height: int, width: int) -> Images:
    """Convert (N, C, S, S) in [-1, 1] to uint8 (N, height, width, C), without the padding, rounded to the nearest."""
    left, _, top, _ = margins(height, width, images.shape[2])
    cropped = images[:, :, top : top + height, left : left + width].float()
    pixels = cropped.add(1.0).mul(127.5).round().clamp(0, 255).to(torch.uint8)
    return pixels.permute(0, 2, 3, 1).contiguous().cpu().numpy()


_MODES: Final = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_GAP, _PAD = 2, 6
# Tiles smaller than this, in pixels, are enlarged by an integer factor, so that people can recognise them.
_READABLE: Final = 56
# The level of zlib: half the time of the default 6 for 2 % more bytes; below 4, files grow by a tenth or more.
_COMPRESSION: Final = 4


def image_png(image: Images) -> bytes:
    """Return one image (H, W, C) uint8 as a PNG of the same size."""
    return _png(_picture(image))


def grid_png(images: Images, rows: int, row_labels: Sequence[str] | None = None) -> bytes:
    """Return images (N, H, W, C) uint8 as one PNG of `rows` rows, with the label of each row to its left.

    Small images are enlarged by an integer factor. Raises `ValueError` if N is not a multiple of `rows`, or if there
    is not one label per row.
    """
    count, height, width, _ = images.shape
    if rows < 1 or count % rows or (row_labels and len(row_labels) != rows):
        raise ValueError(f"{count} images and {len(row_labels or ())} labels do not make {rows} rows.")
    scale = max(1, -(-_READABLE // max(height, width)))
    cell_h = height * scale + _GAP
    lines = [lettering.line(text, max(11, min(18, cell_h // 3))) for text in row_labels or ()]
    margin = max((int(line.width) + 2 * _PAD for line in lines), default=_GAP)
    sheet = _picture(_sheet(_opaque(images), rows, scale, margin))
    pen = ImageDraw.Draw(sheet)
    for row, line in enumerate(lines):
        line.draw(pen, margin - _PAD, _GAP + int((row + 0.5) * cell_h))
    return _png(sheet)


def _opaque(images: Images) -> Images:
    """Remove the alpha channel: return (N, H, W, 1) for grey images, (N, H, W, 3) for others."""
    return images[..., :1] if images.shape[3] <= 2 else images[..., :3]


def _sheet(images: Images, rows: int, scale: int, margin: int) -> Images:
    """Lay (N, H, W, C) out in `rows` rows, enlarged by `scale`, on white with gaps and a left margin in pixels."""
    count, height, width, channels = images.shape
    columns, tall, wide = count // rows, height * scale, width * scale
    sheet = np.full((rows * (tall + _GAP) + _GAP, margin + columns * (wide + _GAP), channels), 255, np.uint8)
    cells = sheet[_GAP:, margin:].reshape(rows, tall + _GAP, columns, wide + _GAP, channels)
    tiles = images.reshape(rows, columns, height, width, channels).transpose(0, 2, 1, 3, 4)
    cells[:, :tall, :, :wide] = tiles.repeat(scale, axis=1).repeat(scale, axis=3)
    return sheet


def _picture(image: Images) -> Image.Image:
    channels = image.shape[2]
    return Image.fromarray(image[:, :, 0] if channels == 1 else image, mode=_MODES[channels])


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", compress_level=_COMPRESSION)
    return buffer.getvalue()
