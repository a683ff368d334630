"""What can go wrong between a data set's name and its images."""

from __future__ import annotations

from gan.data import ImageDataset


class DatasetUnavailableError(Exception):
    """A data set's files are missing or damaged; the text says what to install or do."""


def verified(data: ImageDataset, held_out_sha256: str) -> ImageDataset:
    """`data` itself, if its digest is the one that its `info` names, and its held-out images' the one given.

    Raises `DatasetUnavailableError`.
    """
    _compare(f"images of {data.info.name!r}", data.digest(), data.info.sha256)
    found = "none" if data.held_out is None else data.held_out.digest()
    _compare(f"held-out images of {data.info.name!r}", found, held_out_sha256)
    return data


def _compare(what: str, found: str, expected: str | None) -> None:
    if found != expected:
        raise DatasetUnavailableError(
            f"The {what} are not the ones that were released (sha256 {found}, expected {expected}): a file is "
            f"damaged or has been changed. Install it again."
        )
