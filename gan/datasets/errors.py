"""What can go wrong between a data set's name and its images."""

from __future__ import annotations

from gan.data import ImageDataset


class DatasetUnavailable(Exception):
    """A data set's files are missing or damaged; the text says what to install or do."""


def verified(data: ImageDataset) -> ImageDataset:
    """`data` itself, if its digest is the one that its `info` names; else `DatasetUnavailable`."""
    found, expected = data.digest(), data.info.sha256
    if found != expected:
        raise DatasetUnavailable(
            f"The images of {data.info.name!r} are not the ones that were released (sha256 {found}, expected "
            f"{expected}): a file is damaged or has been changed. Install it again."
        )
    return data
