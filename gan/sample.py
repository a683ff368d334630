"""Images from a trained generator: seeds and classes in, pixels out.

The only place where the networks' range [-1, 1] becomes pixels 0..255 again.
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
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn

from gan import checkpoint
from gan.architectures import build_networks, place
from gan.data import margins
from gan.randomness import generator, latents
from gan.spec import TrainSpec
from gan.spec.catalog import DatasetInfo

Images = npt.NDArray[np.uint8]

# Every forward pass has this many rows: kernels choose their order of summing by the shape of the batch, and an image
# must not depend on what else was asked for in the same call, or by others at the same time.
CHUNK: Final = 32
# Rows of an overview without classes.
UNLABELLED_ROWS: Final = 8


class SampleRequestItem(NamedTuple):
    """One image: all that it is a function of, besides the weights."""

    class_id: int | None
    seed: int
    truncation: float


@dataclass(frozen=True, eq=False)
class TrainedGenerator:
    """A network that draws, in eval mode, with all that must be known to draw from it."""

    network: nn.Module
    spec: TrainSpec
    info: DatasetInfo
    step: int

    @classmethod
    def load(cls, source: str | PathLike[str] | bytes, device: torch.device | str = "cpu") -> TrainedGenerator:
        """From a file (or the bytes) that `checkpoint.save_weights` wrote. Raises `CheckpointUnreadableError`."""
        weights = checkpoint.load_weights(source)
        G, _ = build_networks(weights.spec, weights.info)
        try:
            G.load_state_dict(weights.tensors)
        except RuntimeError as error:
            raise checkpoint.CheckpointUnreadableError(
                f"These weights do not fit the spec beside them: {error}"
            ) from error
        place(G.requires_grad_(False).eval(), device)
        return cls(G, weights.spec, weights.info, weights.step)

    def draw(self, class_ids: Sequence[int] | None, seeds: Sequence[int], truncation: float = 1.0) -> Images:
        """One image a seed: uint8 (N, H, W, C) at the data set's own size.

        Image i is a function of (weights, class_ids[i], seeds[i], truncation) alone. class_ids is None for an
        unconditional generator; truncation in (0, 1] scales z, for less variety. Raises `ValueError`.
        """
        self.check(class_ids, seeds, truncation)
        classes = [None] * len(seeds) if class_ids is None else class_ids
        wanted = [SampleRequestItem(*pair, truncation) for pair in zip(classes, seeds, strict=True)]
        passes = [self._pass(wanted[i : i + CHUNK]) for i in range(0, len(wanted), CHUNK)]
        return to_pixels(torch.cat(passes), self.info.height, self.info.width)

    def draw_together(self, wanted: Sequence[SampleRequestItem]) -> Images:
        """At most `CHUNK` images in one forward pass, each as `draw` gives it; each must have passed `check`."""
        return to_pixels(self._pass(wanted), self.info.height, self.info.width)

    def check(self, class_ids: Sequence[int] | None, seeds: Sequence[int], truncation: float) -> None:
        """Raise `ValueError` for what `draw` cannot draw."""
        if not seeds:
            raise ValueError("There must be at least one seed.")
        if not 0.0 < truncation <= 1.0:
            raise ValueError(f"truncation is {truncation}; it must be above 0 and at most 1.")
        if (class_ids is not None) != self.spec.conditional:
            kind = "needs a class for each image" if self.spec.conditional else "knows no classes"
            raise ValueError(f"This generator {kind}.")
        if class_ids is None:
            return
        if len(class_ids) != len(seeds):
            raise ValueError(f"There are {len(class_ids)} classes for {len(seeds)} seeds; one each is needed.")
        if unknown := [c for c in class_ids if not 0 <= c < len(self.info.classes)]:
            raise ValueError(f"There is no class {unknown[0]}; they go from 0 to {len(self.info.classes) - 1}.")

    def overview(self, per_row: int, seed: int) -> tuple[Images, int, tuple[str, ...]]:
        """Images (N, H, W, C), how many rows they are, and each row's label: a row a class, all of the same seeds,
        counted from `seed`; without classes, `UNLABELLED_ROWS` rows that go on counting, without labels.
        """
        if not self.spec.conditional:
            count = UNLABELLED_ROWS * per_row
            return self.draw(None, range(seed, seed + count)), UNLABELLED_ROWS, ()
        rows = len(self.info.classes)
        class_ids = [row for row in range(rows) for _ in range(per_row)]
        return self.draw(class_ids, list(range(seed, seed + per_row)) * rows), rows, self.info.labels

    def _pass(self, wanted: Sequence[SampleRequestItem]) -> Tensor:
        """(n, C, S, S) in [-1, 1], for n up to `CHUNK`."""
        z = torch.stack([self._latent(image.seed) * image.truncation for image in wanted])
        labels = torch.tensor([image.class_id for image in wanted]) if self.spec.conditional else None
        return self._forward(z, labels)

    def _forward(self, z: Tensor, labels: Tensor | None) -> Tensor:
        """(n, z_dim) -> (n, C, S, S), padded to `CHUNK` rows on the way."""
        device = next(self.network.parameters()).device
        missing = CHUNK - len(z)
        full_z = torch.cat([z, z.new_zeros(missing, z.shape[1])]).to(device)
        full_labels = None if labels is None else torch.cat([labels, labels.new_zeros(missing)]).to(device)
        with torch.inference_mode():
            images: Tensor = self.network(full_z, full_labels)
        return images[: len(z)]

    def _latent(self, seed: int) -> Tensor:
        """z of one image, (z_dim,); always drawn on the CPU, so that it is the same for every device."""
        g = self.spec.generator
        return latents(g.z_distribution, 1, g.z_dim, generator(seed, "image"))[0]


def to_pixels(images: Tensor, height: int, width: int) -> Images:
    """(N, C, S, S) in [-1, 1] -> uint8 (N, height, width, C): the padding cropped off, rounded to the nearest."""
    left, _, top, _ = margins(height, width, images.shape[2])
    cropped = images[:, :, top : top + height, left : left + width].float()
    pixels = cropped.add(1.0).mul(127.5).round().clamp(0, 255).to(torch.uint8)
    return pixels.permute(0, 2, 3, 1).contiguous().cpu().numpy()


_MODES: Final = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_GAP, _PAD = 2, 6
# Pixels: tiles smaller than this are enlarged by a whole factor, so that a person can see them.
_READABLE: Final = 56
# zlib's: half the time of its default 6, for 2 % more bytes; below 4 files grow by a tenth and more.
_COMPRESSION: Final = 4


def image_png(image: Images) -> bytes:
    """One image (H, W, C), uint8, as a PNG of its own size."""
    return _png(_picture(image))


def grid_png(images: Images, rows: int, row_labels: Sequence[str] | None = None) -> bytes:
    """Images (N, H, W, C) as one PNG of `rows` rows, filled row after row; each row's label to its left.

    Small images are enlarged by a whole factor. Raises `ValueError` where N does not fill the rows.
    """
    count, height, width, _ = images.shape
    if rows < 1 or count % rows or (row_labels and len(row_labels) != rows):
        raise ValueError(f"{count} images and {len(row_labels or ())} labels do not make {rows} rows.")
    scale = max(1, -(-_READABLE // max(height, width)))
    cell_h = height * scale + _GAP
    font = ImageFont.load_default(size=max(11, min(18, cell_h // 3)))
    margin = max((int(font.getlength(text)) + 2 * _PAD for text in row_labels or ()), default=_GAP)
    sheet = _picture(_sheet(_opaque(images), rows, scale, margin))
    pen = ImageDraw.Draw(sheet)
    for row, text in enumerate(row_labels or ()):
        pen.text((margin - _PAD, _GAP + int((row + 0.5) * cell_h)), text, fill="black", font=font, anchor="rm")
    return _png(sheet)


def _opaque(images: Images) -> Images:
    """Without alpha: (N, H, W, 1), which stays grey, or (N, H, W, 3)."""
    return images[..., :1] if images.shape[3] <= 2 else images[..., :3]


def _sheet(images: Images, rows: int, scale: int, margin: int) -> Images:
    """(N, H, W, C), each pixel `scale` times as high and wide, with white between them, above and to the left."""
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
