"""Unpacking of a zip into a data set: every image is checked, converted to a square and written for training.

images.bin, labels.bin              training images (N, C, H, W) uint8, class ids (N,) little-endian int64
held_out_images.bin, ...labels.bin  a tenth of each class, chosen by the hash of the file name, never trained on
about.json                          a description with both digests; written last
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gan.spec.catalog import DatasetClass, DatasetInfo
from gan.uploads import archive, pictures
from gan.uploads.archive import ArchiveContents, ArchiveImage
from gan.uploads.names import shown
from gan.uploads.pictures import DecodedImage, ImageFacts, UnfitImageError
from gan.uploads.problems import MAX_PROBLEMS, ArchiveProblem, ArchiveRefusedError

ABOUT: Final = "about.json"
# One in so many images of a class is held out.
HELD_OUT_SHARE: Final = 10
MAX_HELD_OUT: Final = 10_000
MAX_BYTES: Final = 4 * 2**30
MIN_SIDE, USUAL_SIDE, MAX_SIDE = 16, 64, 128
# Fewer bits of 16 than an image with a white pixel needs: 12 bits, as microscopes and X-ray machines have, and 14.
_FULL_BITS: Final = 15
_NEARLY_BLACK: Final = 64
_DAMAGED: Final = (zipfile.BadZipFile, OSError, EOFError, RuntimeError, zlib.error)

OnProgress = Callable[[str, int, int], None]
"""A callback with the phase ("checking" or "preparing"), the number of images done, and the number of all."""


@dataclass(frozen=True)
class ImagePreparation:
    """What is done to every image: it is cropped to its central square and scaled to `side` pixels."""

    side: int
    channels: int
    """1 (grey) or 3 (RGB)."""
    words: str
    """The same in a sentence, for people."""


@dataclass(frozen=True)
class Unpacked:
    """The data set made from an archive, and how its images were prepared."""

    info: DatasetInfo
    preparation: ImagePreparation
    held_out: int
    """The number of held-out images."""
    held_out_sha256: str
    notes: tuple[str, ...] = ()
    """Sentences for the user: how the archive was read, what was left out, what looks wrong."""

    def to_json(self) -> dict[str, Any]:
        """Return the fields as dicts, lists and plain values."""
        return {**asdict(self), "info": self.info.model_dump(mode="json")}


def unpack(
    path: Path,
    folder: Path,
    name: str,
    side: int | None = None,
    *,
    on_progress: OnProgress = lambda *_: None,
    on_preparation: Callable[[ImagePreparation], None] = lambda _: None,
) -> Unpacked:
    """Write the images of the zip at `path` into `folder` as the data set `name`.

    `side` is the width and height of the result in pixels; None chooses one that fits the images. `on_preparation` is
    called before the first image is converted. Raises `ArchiveRefusedError`; then `folder` may hold incomplete files,
    but no `about.json`.
    """
    contents = archive.read(path)
    with zipfile.ZipFile(path) as source:
        facts = _inspect_images(source, contents.files, on_progress)
        preparation = _preparation(facts, _channels(source, contents.files, facts, on_progress), side)
        if len(contents.files) * preparation.channels * preparation.side**2 > MAX_BYTES:
            detail = (
                f"{len(contents.files):,} images of {preparation.side} x {preparation.side} pixels do not fit in "
                "memory. Ask for a smaller size."
            )
            raise ArchiveRefusedError([ArchiveProblem(None, "dataset-too-large", detail)])
        on_preparation(preparation)
        return _write(source, contents, preparation, folder, name, on_progress)


def _inspect_images(
    source: zipfile.ZipFile, files: Sequence[ArchiveImage], on_progress: OnProgress
) -> list[ImageFacts]:
    """Return the facts of each image from its header.

    Raises `ArchiveRefusedError` if a header is bad. Then it also lists the images that cannot be decoded, so that the
    user can correct all of them at once.
    """
    facts: list[ImageFacts] = []
    readable: list[ArchiveImage] = []
    problems: dict[str, ArchiveProblem] = {}
    for number, file in enumerate(files, 1):
        try:
            facts.append(pictures.inspect(_read(source, file)))
            readable.append(file)
        except UnfitImageError as error:
            problems[file.name] = _problem(file, error)
        on_progress("checking", number, len(files))
    if problems:
        complete = _add_undecodable(problems, source, readable, on_progress)
        listed = [problems[file.name] for file in files if file.name in problems]
        raise ArchiveRefusedError(listed, complete=complete)
    return facts


def _add_undecodable(
    problems: dict[str, ArchiveProblem],
    source: zipfile.ZipFile,
    files: Sequence[ArchiveImage],
    on_progress: OnProgress,
) -> bool:
    """Add the images `files`, whose headers are good, that cannot be decoded to `problems`.

    Return false if it stopped at `MAX_PROBLEMS` problems before the last image.
    """
    for number, file in enumerate(files, 1):
        if len(problems) >= MAX_PROBLEMS:
            return False
        try:
            pictures.decode(_read(source, file))
        except UnfitImageError as error:
            problems[file.name] = _problem(file, error)
        on_progress("preparing", number, len(files))
    return True


def _channels(
    source: zipfile.ZipFile, files: Sequence[ArchiveImage], facts: Sequence[ImageFacts], on_progress: OnProgress
) -> int:
    """Return 3 if any pixel has a colour, else 1.

    Grey images are often stored as RGB or with a palette. Those are decoded until the first colour.
    """
    for number, (file, fact) in enumerate(zip(files, facts, strict=True), 1):
        if not fact.grey and _has_colour(source, file):
            return 3
        on_progress("checking", number, len(files))
    return 1


def _has_colour(source: zipfile.ZipFile, file: ArchiveImage) -> bool:
    try:
        return pictures.decode(_read(source, file)).has_colour
    except UnfitImageError:
        return False  # It is reported when it is converted.


def _preparation(facts: Sequence[ImageFacts], channels: int, requested_side: int | None) -> ImagePreparation:
    side = requested_side or _fitting_side(facts)
    words = (
        f"Each image is cropped to its central square, scaled to {side} x {side} (Lanczos) and made "
        f"{'grey' if channels == 1 else 'RGB'}; transparency becomes white, EXIF rotation is applied. "
        f"One in {HELD_OUT_SHARE} is held out for the evaluations."
    )
    return ImagePreparation(side, channels, words)


def _fitting_side(facts: Sequence[ImageFacts]) -> int:
    """Return a side in pixels that fits the images.

    It is that of the images if all are squares of one size that the networks support. Otherwise it is 64, or 32 if
    the median of the shorter edges is below 64.
    """
    sizes = {(image.width, image.height) for image in facts}
    width, height = next(iter(sizes))
    if len(sizes) == 1 and width == height and MIN_SIDE <= width <= MAX_SIDE:
        return width
    edges = sorted(min(image.width, image.height) for image in facts)
    return USUAL_SIDE if edges[len(edges) // 2] >= USUAL_SIDE else USUAL_SIDE // 2


def _write(
    source: zipfile.ZipFile,
    contents: ArchiveContents,
    preparation: ImagePreparation,
    folder: Path,
    name: str,
    on_progress: OnProgress,
) -> Unpacked:
    """Convert all images and write the files of the data set. Raises `ArchiveRefusedError`."""
    held_out = _held_out(contents.files)
    looks = _Looks()
    folder.mkdir(parents=True, exist_ok=True)
    problems: list[ArchiveProblem] = []
    # By whether the image is held out.
    labels: dict[bool, list[int]] = {True: [], False: []}
    digests = {True: hashlib.sha256(), False: hashlib.sha256()}
    with (
        (folder / "images.bin").open("wb") as training_file,
        (folder / "held_out_images.bin").open("wb") as held_out_file,
    ):
        for number, file in enumerate(contents.files, 1):
            # After a bad image the others are still checked, so that the user learns of all, up to a limit.
            if len(problems) >= MAX_PROBLEMS:
                raise ArchiveRefusedError(problems, complete=False)
            try:
                decoded = pictures.decode(_read(source, file))
            except UnfitImageError as error:
                problems.append(_problem(file, error))
                continue
            square = decoded.square(preparation.side, preparation.channels)
            looks.add(decoded, square)
            pixels, is_held_out = square.tobytes(), file.name in held_out
            (held_out_file if is_held_out else training_file).write(pixels)
            digests[is_held_out].update(pixels)
            labels[is_held_out].append(file.class_id)
            on_progress("preparing", number, len(contents.files))
        for written in (training_file, held_out_file):
            written.flush()
            os.fsync(written.fileno())
    if problems:
        raise ArchiveRefusedError(problems)
    if contents.labels:
        for is_held_out, ids in labels.items():
            content = np.array(ids, "<i8").tobytes()
            digests[is_held_out].update(content)
            _write_file(folder / ("held_out_labels.bin" if is_held_out else "labels.bin"), content)
    counts = Counter(labels[False])
    classes = tuple(DatasetClass(id=i, label=label, count=counts[i]) for i, label in enumerate(contents.labels))
    info = DatasetInfo(
        name=name,
        num_images=len(labels[False]),
        channels=preparation.channels,
        height=preparation.side,
        width=preparation.side,
        classes=classes,
        sha256=digests[False].hexdigest(),
    )
    notes = (*contents.notes, *looks.notes())
    unpacked = Unpacked(info, preparation, len(labels[True]), digests[True].hexdigest(), notes)
    _write_file(folder / ABOUT, json.dumps(unpacked.to_json()).encode())
    for changed in (folder, folder.parent):
        _sync_folder(changed)
    return unpacked


@dataclass
class _Looks:
    """What the images look like, for notes about those that are probably not meant so."""

    images: int = 0
    deep: int = 0
    """Files with 16 bits per value."""
    shallow_bits: list[int] = field(default_factory=list)
    """The bits that the others of these use."""
    without_exif: int = 0
    brightest: int = 0

    def add(self, decoded: DecodedImage, square: npt.NDArray[np.uint8]) -> None:
        self.images += 1
        self.without_exif += decoded.exif_ignored
        self.brightest = max(self.brightest, int(square.max()))
        if decoded.bits is not None:
            self.deep += 1
            if decoded.bits < _FULL_BITS:
                self.shallow_bits.append(decoded.bits)

    def notes(self) -> Iterator[str]:
        """Yield a sentence about each thing that looks wrong."""
        if self.shallow_bits and 2 * len(self.shallow_bits) >= self.deep:
            yield (
                f"{_images_have(len(self.shallow_bits))} 16 bits per value, but no value above "
                f"{max(self.shallow_bits)} bits. They become dark, because the upper 8 of the 16 bits are kept. "
                "Scale their values to 0..65535 and upload them again."
            )
        elif self.brightest < _NEARLY_BLACK:
            yield f"The images are nearly black: the brightest value of all is {self.brightest} of 255."
        if self.without_exif:
            yield f"{_images_have(self.without_exif)} EXIF data that cannot be read; they were not rotated."


def _images_have(count: int) -> str:
    return "1 image has" if count == 1 else f"{count:,} images have"


def _held_out(files: Iterable[ArchiveImage]) -> set[str]:
    """Return the names to hold out: a tenth of each class, at least one, those whose names have the lowest hashes."""
    classes = {
        class_id: [file.name for file in group] for class_id, group in groupby(files, key=lambda f: f.class_id)
    }
    most = max(1, MAX_HELD_OUT // len(classes))
    chosen: set[str] = set()
    for names in classes.values():
        order = sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())
        chosen.update(order[: min(most, max(1, len(names) // HELD_OUT_SHARE))])
    return chosen


def _read(source: zipfile.ZipFile, file: ArchiveImage) -> bytes:
    """Return a whole file of the archive. Raises `UnfitImageError` if the archive holds it damaged.

    `zipfile` reads no more than the size in the directory, so no file is larger than `archive.read` has checked.
    """
    try:
        return source.read(file.entry)
    except _DAMAGED as error:
        reason = f"the archive holds it damaged ({' '.join(str(error).split())[:120]})"
        raise UnfitImageError("corrupt-image", reason) from None


def _problem(file: ArchiveImage, error: UnfitImageError) -> ArchiveProblem:
    return ArchiveProblem(file.name, error.code, f"{shown(file.name)}: {error}.")


def _write_file(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Flush the directory entries of `folder` to the disk: after a crash the files would otherwise have no names."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
