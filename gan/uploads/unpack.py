"""A zip becomes a data set: every image is looked at, then made into a square, in files that a trainer reads.

images.bin, labels.bin              training images (N, C, H, W) uint8, class ids (N,) little-endian int64
held_out_images.bin, ...labels.bin  a tenth of each class, chosen by the hash of its name, trained on by nobody
about.json                          what they are, and both digests; written last
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
from gan.uploads.archive import MOST_TOLD, ArchiveContents, ArchiveProblem, ArchiveRefusedError, shown
from gan.uploads.pictures import ImageFacts, UnfitImageError

ABOUT: Final = "about.json"
HELD_OUT_SHARE: Final = 10
MOST_HELD_OUT: Final = 10_000
MOST_BYTES: Final = 4 * 2**30
SMALLEST_SIDE, USUAL_SIDE, LARGEST_SIDE = 16, 64, 128
_DAMAGED: Final = (zipfile.BadZipFile, OSError, EOFError, RuntimeError, zlib.error)

Tell = Callable[[str, int, int], None]
"""Hears of a phase, of how many images are through, and of how many there are."""


@dataclass(frozen=True)
class ImagePreparation:
    """What is done to every image: cropped to its central square, scaled to `side`, in so many channels."""

    side: int
    channels: int
    words: str


@dataclass(frozen=True)
class Unpacked:
    """The data set that came of an archive, and what its images went through."""

    info: DatasetInfo
    preparation: ImagePreparation
    held_out: int
    held_out_sha256: str

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "info": self.info.model_dump(mode="json")}


def unpack(
    path: Path,
    folder: Path,
    name: str,
    side: int | None = None,
    *,
    tell: Tell = lambda *_: None,
    planned: Callable[[ImagePreparation], None] = lambda _: None,
) -> Unpacked:
    """Write the images of the zip at `path` into `folder`, `side` pixels wide and high (None: what fits them).

    `planned` is told what is going to be done to them. Raises `Refused`, and leaves files that nobody is to read.
    """
    contents = archive.read(path)
    with zipfile.ZipFile(path) as source:
        plan = _plan(_looks(source, contents.files, tell), side)
        if len(contents.files) * plan.channels * plan.side**2 > MOST_BYTES:
            detail = f"{len(contents.files):,} images of {plan.side} x {plan.side} are too many to be held in memory."
            raise ArchiveRefusedError(
                [ArchiveProblem(None, "dataset-too-large", f"{detail} Ask for a smaller size.")]
            )
        planned(plan)
        return _write(source, contents, plan, folder, name, tell)


def _looks(source: zipfile.ZipFile, files: Sequence[tuple[str, int]], tell: Tell) -> list[ImageFacts]:
    """What each image says of itself. Raises `Refused`, also of what is amiss behind the headers."""
    looks: dict[str, ImageFacts] = {}
    problems: dict[str, ArchiveProblem] = {}
    for number, (name, _) in enumerate(files, 1):
        try:
            looks[name] = pictures.look(_bytes(source, name))
        except UnfitImageError as error:
            problems[name] = _problem(name, error)
        tell("checking", number, len(files))
    if problems:
        # It is refused anyway: who mends it is to know of everything at once.
        looked_at_all = _add_broken(problems, source, list(looks), tell)
        raise ArchiveRefusedError(
            [problems[name] for name, _ in files if name in problems], looked_at_all=looked_at_all
        )
    return list(looks.values())


def _add_broken(
    problems: dict[str, ArchiveProblem], source: zipfile.ZipFile, names: Sequence[str], tell: Tell
) -> bool:
    """Of images whose headers are good, those that cannot be decoded. False: there were enough before the last."""
    for number, name in enumerate(names, 1):
        if len(problems) >= MOST_TOLD:
            return False
        try:
            pictures.square(_bytes(source, name), SMALLEST_SIDE, 1)
        except UnfitImageError as error:
            problems[name] = _problem(name, error)
        tell("preparing", number, len(names))
    return True


def _plan(looks: Sequence[ImageFacts], asked: int | None) -> ImagePreparation:
    channels = 1 if all(look.grey for look in looks) else 3
    side = asked or _fitting_side(looks)
    words = (
        f"Each image is cropped to its central square, scaled to {side} x {side} (Lanczos) and made "
        f"{'grey' if channels == 1 else 'RGB'}; transparency becomes white, EXIF rotation is applied. "
        f"One in {HELD_OUT_SHARE} is held out for the evaluations."
    )
    return ImagePreparation(side, channels, words)


def _fitting_side(looks: Sequence[ImageFacts]) -> int:
    """The images' own, where they are squares of one size that networks reach; else 64, or 32 for smaller ones."""
    sizes = {(look.width, look.height) for look in looks}
    width, height = next(iter(sizes))
    if len(sizes) == 1 and width == height and SMALLEST_SIDE <= width <= LARGEST_SIDE:
        return width
    edges = sorted(min(look.width, look.height) for look in looks)
    return USUAL_SIDE if edges[len(edges) // 2] >= USUAL_SIDE else USUAL_SIDE // 2


def _write(
    source: zipfile.ZipFile, contents: ArchiveContents, plan: ImagePreparation, folder: Path, name: str, tell: Tell
) -> Unpacked:
    held_out = _held_out(contents.files)
    folder.mkdir(parents=True, exist_ok=True)
    problems: list[ArchiveProblem] = []
    labels: dict[bool, list[int]] = {True: [], False: []}
    digests = {True: hashlib.sha256(), False: hashlib.sha256()}
    with (folder / "images.bin").open("wb") as kept, (folder / "held_out_images.bin").open("wb") as apart:
        for number, (file, class_id) in enumerate(contents.files, 1):
            # Looking goes on after the first bad file, so that all of them are named; not for ever.
            if len(problems) >= MOST_TOLD:
                raise ArchiveRefusedError(problems, looked_at_all=False)
            try:
                pixels = pictures.square(_bytes(source, file), plan.side, plan.channels).tobytes()
            except UnfitImageError as error:
                problems.append(_problem(file, error))
                continue
            (apart if file in held_out else kept).write(pixels)
            digests[file in held_out].update(pixels)
            labels[file in held_out].append(class_id)
            tell("preparing", number, len(contents.files))
        for written in (kept, apart):
            written.flush()
            os.fsync(written.fileno())
    if problems:
        raise ArchiveRefusedError(problems)
    if contents.labels:
        for away, ids in labels.items():
            content = np.array(ids, "<i8").tobytes()
            digests[away].update(content)
            _put(folder / ("held_out_labels.bin" if away else "labels.bin"), content)
    counts = Counter(labels[False])
    classes = tuple(DatasetClass(id=i, label=label, count=counts[i]) for i, label in enumerate(contents.labels))
    info = DatasetInfo(
        name=name,
        num_images=len(labels[False]),
        channels=plan.channels,
        height=plan.side,
        width=plan.side,
        classes=classes,
        sha256=digests[False].hexdigest(),
    )
    made = Unpacked(info, plan, len(labels[True]), digests[True].hexdigest())
    _put(folder / ABOUT, json.dumps(made.to_json()).encode())
    for named in (folder, folder.parent):
        _make_durable(named)
    return made


def _held_out(files: Iterable[tuple[str, int]]) -> set[str]:
    """A tenth of each class, one at the least: those whose names hash lowest, so that it is nobody's choice."""
    classes = {class_id: [file for file, _ in group] for class_id, group in groupby(files, key=lambda f: f[1])}
    most = max(1, MOST_HELD_OUT // len(classes))
    chosen: set[str] = set()
    for names in classes.values():
        order = sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())
        chosen.update(order[: min(most, max(1, len(names) // HELD_OUT_SHARE))])
    return chosen


def _bytes(source: zipfile.ZipFile, name: str) -> bytes:
    """A whole file of the archive, which reads no more of it than its directory says. Raises `UnfitImageError`."""
    try:
        return source.read(name)
    except _DAMAGED as error:
        raise UnfitImageError(
            "corrupt-image", f"the archive holds it damaged ({' '.join(str(error).split())[:120]})"
        ) from None


def _problem(name: str, error: UnfitImageError) -> ArchiveProblem:
    return ArchiveProblem(name, error.code, f"{shown(name)}: {error}.")


def _put(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _make_durable(folder: Path) -> None:
    """The names in it, as the files themselves are."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
