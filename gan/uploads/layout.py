"""The classes of an archive, from the folders in which its images lie.

shoe/1.png  bag/1.jpg ...       one folder per class; class ids follow the order of the names or numbers
1.png  2.webp ...               no folders: the images have no labels
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from gan.spec.text import plain_label
from gan.uploads.names import shown
from gan.uploads.problems import ArchiveProblem

MAX_CLASSES: Final = 1_000
MIN_IMAGES: Final = 64
MIN_IMAGES_PER_CLASS: Final = 2
MAX_LABEL_LENGTH: Final = 100
# StyleGAN's dataset_tool puts image 1234 into 00001/img00001234.png. These folders are no classes.
_SHARD: Final = re.compile(r"(\d{5})/img(\d{8})\.\w+")
_IMAGES_PER_SHARD: Final = 1_000

Parts = tuple[str, ...]
"""The parts of a path: folders, and the name of a file or of the last folder."""


@dataclass(frozen=True)
class Layout:
    """The folders of each image, without those that lie around all classes.

    folders: the path of each image -> the folders that it lies in. empty: the labels of folders without images.
    """

    folders: Mapping[str, Parts]
    empty: frozenset[str]
    notes: tuple[str, ...]

    @classmethod
    def of(cls, images: Mapping[str, Parts], folders: Iterable[Parts], others: Collection[Parts]) -> Layout:
        """Return the layout of `images`; `folders` and `others` are the paths of folders and of other files.

        Only images count, and only images decide which folders are the classes.
        """
        depth = _depth_of_classes(images.values())
        notes = []
        if depth:
            around = "/".join(next(iter(images.values()))[:depth])
            notes.append(f"All images lie in the folder {shown(around)}, which is no part of the labels.")
        inner = {path: parts[depth:-1] for path, parts in images.items()}
        # A folder that holds only files of other types is reported through those files.
        filled = {parts[depth] for parts in [*images.values(), *others] if len(parts) > depth + 1}
        empty = {parts[depth] for parts in folders if len(parts) > depth} - filled
        for same in _spelled_alike(folder[0] for folder in inner.values() if folder):
            notes.append(f"The folders {' and '.join(map(shown, same))} look the same; they are one class.")
        if _are_shards(["/".join(parts[depth:]) for parts in images.values()]):
            notes.append(
                "The folders are those of StyleGAN's dataset_tool, which are no classes: there are no labels."
            )
            inner = dict.fromkeys(inner, ())
        return cls(inner, frozenset(map(plain_label, empty)), tuple(notes))

    @cached_property
    def label_of(self) -> dict[str, str]:
        """The label of each image; that of an image in no folder is ""."""
        return {path: plain_label(folder[0]) if folder else "" for path, folder in self.folders.items()}

    @cached_property
    def counts(self) -> Counter[str]:
        """The number of images of each label."""
        return Counter(label for path, label in self.label_of.items() if self.folders[path])

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The labels in order. If all are numbers, the order is numerical: 2 comes before 10."""
        labels = self.counts
        numbers = all(label.isascii() and label.isdecimal() for label in labels)
        return tuple(sorted(labels, key=lambda label: (int(label) if numbers else 0, label)))

    def problems(self) -> list[ArchiveProblem]:
        """Return everything that keeps these folders from being a data set."""
        if self.folders and all(len(folder) > 1 for folder in self.folders.values()):
            return [self._around_the_classes()]
        return [*self._wrong_counts(), *self._wrong_places(), *self._wrong_classes()]

    def _around_the_classes(self) -> ArchiveProblem:
        """Return the problem of an archive whose class folders lie in several folders, such as train and val."""
        tops = sorted(self.counts)
        around = ", ".join(shown(top) for top in tops[:5]) + (", ..." if len(tops) > 5 else "")
        detail = f"The class folders lie in several folders: {around}. Put all images of a class together in one "
        detail += "folder, such as cat/1.png and dog/1.png, or upload one of these folders alone."
        return ArchiveProblem(next(iter(self.folders)), "bad-layout", detail)

    def _wrong_counts(self) -> Iterator[ArchiveProblem]:
        """Yield the problems with the number of images and of classes."""
        if len(self.folders) < MIN_IMAGES:
            detail = f"The archive has {len(self.folders)} images; at least {MIN_IMAGES} are needed."
            yield ArchiveProblem(None, "dataset-too-small", detail)
        if len(self.counts) == 1 and all(self.folders.values()) and not self.empty:
            detail = (
                f"All images are in one folder, {shown(*self.counts)}, so there is only one class. Put the images "
            )
            detail += "at the top level for a data set without labels, or add a second class."
            yield ArchiveProblem(None, "one-class", detail)
        if len(self.counts) > MAX_CLASSES:
            detail = f"The archive has {len(self.counts):,} classes; the limit is {MAX_CLASSES:,}."
            yield ArchiveProblem(None, "bad-layout", detail)

    def _wrong_places(self) -> Iterator[ArchiveProblem]:
        """Yield one problem for all images in the same kind of wrong place."""
        loose = [path for path, folder in self.folders.items() if not folder]
        if loose and self.counts:
            where = "beside the class folders: put every image into a folder, or none"
            yield ArchiveProblem(loose[0], "bad-layout", f"{_images(loose)} {where}.")
        deep: dict[str, list[str]] = defaultdict(list)
        for path, folder in self.folders.items():
            if len(folder) > 1:
                deep[folder[0]].append(path)
        for paths in deep.values():
            where = "nested too deep: each class must be one folder that contains only images"
            yield ArchiveProblem(paths[0], "bad-layout", f"{_images(paths)} {where}.")

    def _wrong_classes(self) -> Iterator[ArchiveProblem]:
        """Yield the problems of single classes."""
        for label in sorted(self.empty - set(self.counts)):
            yield ArchiveProblem(label, "empty-class", f"The folder {shown(label)} has no images.")
        for label, count in sorted(self.counts.items()):
            if not label or len(label) > MAX_LABEL_LENGTH:
                detail = (
                    f"The name of a class folder must have 1 to {MAX_LABEL_LENGTH} characters, not {shown(label)}."
                )
                yield ArchiveProblem(label, "bad-layout", detail)
            if count < MIN_IMAGES_PER_CLASS:
                detail = f"The class {shown(label)} has {count} image; at least {MIN_IMAGES_PER_CLASS} are needed."
                yield ArchiveProblem(label, "dataset-too-small", detail)


def _depth_of_classes(images: Collection[Parts]) -> int:
    """Return the number of folders that lie around all classes."""
    depth = 0
    while all(len(path) > depth + 2 for path in images) and len({path[depth] for path in images}) == 1:
        depth += 1
    return depth


def _spelled_alike(names: Iterable[str]) -> list[list[str]]:
    """Return the groups of names that differ only in marks that nobody sees."""
    groups: dict[str, set[str]] = defaultdict(set)
    for name in names:
        groups[plain_label(name)].add(name)
    return [sorted(group) for group in groups.values() if len(group) > 1]


def _are_shards(paths: Sequence[str]) -> bool:
    """Return whether these are the images of StyleGAN's dataset_tool, in at least two folders."""
    found = [_SHARD.fullmatch(path) for path in paths]
    shards = {match[1] for match in found if match and int(match[2]) // _IMAGES_PER_SHARD == int(match[1])}
    return len(shards) > 1 and all(found)


def _images(paths: Sequence[str]) -> str:
    """Return the subject of a sentence about these images, with its verb."""
    more = f" and {len(paths) - 1:,} more images are" if len(paths) > 2 else " and 1 more image are"
    return shown(paths[0]) + (more if len(paths) > 1 else " is")
