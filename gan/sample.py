"""Images from a trained generator: seeds and classes in, pixels out.

The only place where the networks' range [-1, 1] becomes pixels 0..255 again.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn

from gan import checkpoint
from gan.architectures import build_networks, place
from gan.catalog import DatasetInfo
from gan.data import margins
from gan.randomness import generator, latents
from gan.spec import TrainSpec

Images = npt.NDArray[np.uint8]

# Every forward pass has this many rows: kernels choose their order of summing by the shape of the batch, and an image
# must not depend on what else was asked for in the same call.
CHUNK: Final = 32
# Rows of an overview without classes.
UNLABELLED_ROWS: Final = 8


@dataclass(frozen=True, eq=False)
class Generator:
    """A network that draws, in eval mode, with all that must be known to draw from it."""

    network: nn.Module
    spec: TrainSpec
    info: DatasetInfo
    step: int

    @classmethod
    def load(cls, source: str | PathLike[str] | bytes, device: torch.device | str = "cpu") -> Generator:
        """From a file (or the bytes) that `checkpoint.save_weights` wrote. Raises `CheckpointUnreadable`."""
        weights = checkpoint.load_weights(source)
        G, _ = build_networks(weights.spec, weights.info)
        try:
            G.load_state_dict(weights.tensors)
        except RuntimeError as error:
            raise checkpoint.CheckpointUnreadable(
                f"These weights do not fit the spec beside them: {error}"
            ) from error
        place(G.requires_grad_(False).eval(), device)
        return cls(G, weights.spec, weights.info, weights.step)

    def draw(self, class_ids: Sequence[int] | None, seeds: Sequence[int], truncation: float = 1.0) -> Images:
        """One image a seed: uint8 (N, H, W, C) at the data set's own size.

        Image i is a function of (weights, class_ids[i], seeds[i], truncation) alone. class_ids is None for an
        unconditional generator; truncation in (0, 1] scales z, for less variety. Raises `ValueError`.
        """
        self._check(class_ids, seeds, truncation)
        z = torch.stack([self._latent(seed) for seed in seeds]) * truncation
        labels = None if class_ids is None else torch.tensor(list(class_ids))
        chunks = [
            self._forward(z[i : i + CHUNK], None if labels is None else labels[i : i + CHUNK])
            for i in range(0, len(seeds), CHUNK)
        ]
        return to_pixels(torch.cat(chunks), self.info.height, self.info.width)

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

    def _check(self, class_ids: Sequence[int] | None, seeds: Sequence[int], truncation: float) -> None:
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
    cell_w, cell_h = width * scale + _GAP, height * scale + _GAP
    font = ImageFont.load_default(size=max(11, min(18, cell_h // 3)))
    margin = max((int(font.getlength(text)) + 2 * _PAD for text in row_labels or ()), default=_GAP)
    sheet = Image.new("RGB", (margin + count // rows * cell_w, rows * cell_h + _GAP), "white")
    for i, image in enumerate(images):
        row, column = divmod(i, count // rows)
        tile = _picture(image).resize((width * scale, height * scale), Image.Resampling.NEAREST)
        sheet.paste(tile.convert("RGBA").convert("RGB"), (margin + column * cell_w, _GAP + row * cell_h))
    pen = ImageDraw.Draw(sheet)
    for row, text in enumerate(row_labels or ()):
        pen.text((margin - _PAD, _GAP + int((row + 0.5) * cell_h)), text, fill="black", font=font, anchor="rm")
    return _png(sheet)


def _picture(image: Images) -> Image.Image:
    channels = image.shape[2]
    return Image.fromarray(image[:, :, 0] if channels == 1 else image, mode=_MODES[channels])


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()
