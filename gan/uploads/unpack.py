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
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import numpy as np

from gan.spec.catalog import DatasetClass, DatasetInfo
from gan.uploads import archive, pictures
from gan.uploads.archive import MAX_PROBLEMS, ArchiveContents, ArchiveProblem, ArchiveRefusedError, shown
from gan.uploads.pictures import ImageFacts, UnfitImageError

ABOUT: Final = "about.json"
# One in so many images of a class is held out.
HELD_OUT_SHARE: Final = 10
MAX_HELD_OUT: Final = 10_000
MAX_BYTES: Final = 4 * 2**30
MIN_SIDE, USUAL_SIDE, MAX_SIDE = 16, 64, 128
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
        preparation = _preparation(_inspect_images(source, contents.files, on_progress), side)
        if len(contents.files) * preparation.channels * preparation.side**2 > MAX_BYTES:
            detail = (
                f"{len(contents.files):,} images of {preparation.side} x {preparation.side} pixels do not fit in "
                "memory. Ask for a smaller size."
            )
            raise ArchiveRefusedError([ArchiveProblem(None, "dataset-too-large", detail)])
        on_preparation(preparation)
        return _write(source, contents, preparation, folder, name, on_progress)


def _inspect_images(
    source: zipfile.ZipFile, files: Sequence[tuple[str, int]], on_progress: OnProgress
) -> list[ImageFacts]:
    """Return the facts of each image from its header.

    Raises `ArchiveRefusedError` if a header is bad. Then it also lists the images that cannot be decoded, so that the
    user can correct all of them at once.
    """
    facts: dict[str, ImageFacts] = {}
    problems: dict[str, ArchiveProblem] = {}
    for number, (name, _) in enumerate(files, 1):
        try:
            facts[name] = pictures.inspect(_read(source, name))
        except UnfitImageError as error:
            problems[name] = _problem(name, error)
        on_progress("checking", number, len(files))
    if problems:
        complete = _add_undecodable(problems, source, list(facts), on_progress)
        raise ArchiveRefusedError([problems[name] for name, _ in files if name in problems], complete=complete)
    return list(facts.values())


def _add_undecodable(
    problems: dict[str, ArchiveProblem], source: zipfile.ZipFile, names: Sequence[str], on_progress: OnProgress
) -> bool:
    """Add the images `names`, whose headers are good, that cannot be decoded to `problems`.

    Return false if it stopped at `MAX_PROBLEMS` problems before the last image.
    """
    for number, name in enumerate(names, 1):
        if len(problems) >= MAX_PROBLEMS:
            return False
        try:
            pictures.square(_read(source, name), MIN_SIDE, 1)
        except UnfitImageError as error:
            problems[name] = _problem(name, error)
        on_progress("preparing", number, len(names))
    return True


def _preparation(facts: Sequence[ImageFacts], requested_side: int | None) -> ImagePreparation:
    channels = 1 if all(image.grey for image in facts) else 3
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
    folder.mkdir(parents=True, exist_ok=True)
    problems: list[ArchiveProblem] = []
    # By whether the image is held out.
    labels: dict[bool, list[int]] = {True: [], False: []}
    digests = {True: hashlib.sha256(), False: hashlib.sha256()}
    with (
        (folder / "images.bin").open("wb") as training_file,
        (folder / "held_out_images.bin").open("wb") as held_out_file,
    ):
        for number, (file, class_id) in enumerate(contents.files, 1):
            # After a bad image the others are still checked, so that the user learns of all, up to a limit.
            if len(problems) >= MAX_PROBLEMS:
                raise ArchiveRefusedError(problems, complete=False)
            try:
                square = pictures.square(_read(source, file), preparation.side, preparation.channels)
            except UnfitImageError as error:
                problems.append(_problem(file, error))
                continue
            pixels = square.tobytes()
            (held_out_file if file in held_out else training_file).write(pixels)
            digests[file in held_out].update(pixels)
            labels[file in held_out].append(class_id)
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
    unpacked = Unpacked(info, preparation, len(labels[True]), digests[True].hexdigest())
    _write_file(folder / ABOUT, json.dumps(unpacked.to_json()).encode())
    for changed in (folder, folder.parent):
        _sync_folder(changed)
    return unpacked


def _held_out(files: Iterable[tuple[str, int]]) -> set[str]:
    """Return the names to hold out: a tenth of each class, at least one, those whose names have the lowest hashes."""
    classes = {class_id: [file for file, _ in group] for class_id, group in groupby(files, key=lambda f: f[1])}
    most = max(1, MAX_HELD_OUT // len(classes))
    chosen: set[str] = set()
    for names in classes.values():
        order = sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())
        chosen.update(order[: min(most, max(1, len(names) // HELD_OUT_SHARE))])
    return chosen


def _read(source: zipfile.ZipFile, name: str) -> bytes:
    """Return a whole file of the archive. Raises `UnfitImageError` if the archive holds it damaged.

    `zipfile` reads no more than the size in the directory, so no file is larger than `archive.read` has checked.
    """
    try:
        return source.read(name)
    except _DAMAGED as error:
        reason = f"the archive holds it damaged ({' '.join(str(error).split())[:120]})"
        raise UnfitImageError("corrupt-image", reason) from None


def _problem(name: str, error: UnfitImageError) -> ArchiveProblem:
    return ArchiveProblem(name, error.code, f"{shown(name)}: {error}.")


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
