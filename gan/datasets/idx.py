"""The IDX format of MNIST and Fashion-MNIST: a gzipped header of big-endian sizes, then plain bytes.

Format: http://yann.lecun.com/exdb/mnist/ ("the IDX file format").
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from gan.datasets.errors import DatasetUnavailableError

_UINT8: Final = 0x08


def read(path: Path) -> npt.NDArray[np.uint8]:
    """Return the array of unsigned bytes in the gzipped IDX file at `path`, in the shape that its header states.

    Raises `DatasetUnavailableError` if the file cannot be read or does not match its header.
    """
    try:
        raw = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise DatasetUnavailableError(f"{path.name} cannot be read ({error}). Install its package again.") from error
    try:
        _, kind, dims = struct.unpack_from(">HBB", raw)
        shape = struct.unpack_from(f">{dims}I", raw, 4)
    except struct.error as error:
        raise DatasetUnavailableError(f"{path.name} ends within its header. Install its package again.") from error
    body = raw[4 + 4 * dims :]
    if kind != _UINT8 or len(body) != math.prod(shape):
        raise DatasetUnavailableError(f"{path.name} is not a complete IDX file of bytes. Install its package again.")
    return np.frombuffer(body, dtype=np.uint8).reshape(shape)
