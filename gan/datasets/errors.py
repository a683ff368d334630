"""The error of a data set that cannot be read, and the check of its digests."""

from __future__ import annotations

from gan.data import ImageDataset


class DatasetUnavailableError(Exception):
    """The files of a data set are missing or damaged. The text says what to install or do."""


def verified(data: ImageDataset, held_out_sha256: str) -> ImageDataset:
    """Return `data` if its digests are the expected ones: that in its `info`, and `held_out_sha256`.

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
