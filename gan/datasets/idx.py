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
    """The array in a gzipped IDX file of unsigned bytes; as many dimensions as its header says.

    Raises `DatasetUnavailableError` for a file that cannot be read or is not what its header says.
    """
    try:
        raw = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise DatasetUnavailableError(f"{path.name} cannot be read ({error}). Install its package again.") from error
    try:
        _, kind, dims = struct.unpack_from(">HBB", raw)
        shape = struct.unpack_from(f">{dims}I", raw, 4)
    except struct.error as error:
        raise DatasetUnavailableError(f"{path.name} is cut off in its header. Install its package again.") from error
    body = raw[4 + 4 * dims :]
    if kind != _UINT8 or len(body) != math.prod(shape):
        raise DatasetUnavailableError(f"{path.name} is not a whole IDX file of bytes. Install its package again.")
    return np.frombuffer(body, dtype=np.uint8).reshape(shape)
