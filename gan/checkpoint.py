"""The files of a training run: a checkpoint (all that is needed to resume) and weights (G alone, for sampling).

A checkpoint is written by `torch.save` from tensors and plain values and read with `weights_only=True`, so that it
cannot run code. Weights are safetensors with the spec and the data set's classes inside: the file alone is enough to
sample.
"""

from __future__ import annotations

import json
import pickle  # noqa: TID251 - for the error class that torch raises
import zipfile
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

import safetensors
import safetensors.torch
import torch
from pydantic import ValidationError
from torch import Tensor

from gan.spec import TrainSpec, from_record
from gan.spec.catalog import DatasetInfo

CHECKPOINT_FORMAT: Final = 1
WEIGHTS_FORMAT: Final = 1
# Everything is under one key, because safetensors writes several keys in an order that changes from call to call.
_METADATA_KEY: Final = "gantry"


class CheckpointUnreadableError(Exception):
    """A file is damaged, or has the format of another version of this program."""


def save(file: BinaryIO, state: Mapping[str, Any]) -> None:
    """Write the output of `Trainer.state()` to an open binary file."""
    torch.save({"format": CHECKPOINT_FORMAT, "state": dict(state)}, file)


def load(path: str | PathLike[str], map_location: torch.device | str = "cpu") -> dict[str, Any]:
    """Return the state that `save` wrote, with its tensors on `map_location`.

    Raises `CheckpointUnreadableError`, and `FileNotFoundError` if there is no file.
    """
    if not zipfile.is_zipfile(path):
        Path(path).stat()
        raise CheckpointUnreadableError(f"The checkpoint {Path(path).name} is incomplete or is not a checkpoint.")
    try:
        content = torch.load(path, map_location=map_location, weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError) as error:
        raise CheckpointUnreadableError(f"The checkpoint {Path(path).name} cannot be read: {error}") from error
    found = content.get("format") if isinstance(content, dict) else None
    if found != CHECKPOINT_FORMAT:
        raise CheckpointUnreadableError(
            f"The checkpoint {Path(path).name} has format {found}, and this program reads {CHECKPOINT_FORMAT}."
        )
    state: dict[str, Any] = content["state"]
    return state


class Weights(NamedTuple):
    """The content of a weights file."""

    tensors: dict[str, Tensor]
    spec: TrainSpec
    info: DatasetInfo
    step: int


def save_weights(weights: Mapping[str, Tensor], spec: TrainSpec, info: DatasetInfo, step: int) -> bytes:
    """Return G's weights as the bytes of a safetensors file. The same arguments give the same bytes."""
    about = {
        "format": WEIGHTS_FORMAT,
        "step": step,
        "spec": spec.model_dump(mode="json"),
        "info": info.model_dump(mode="json"),
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    return safetensors.torch.save(tensors, {_METADATA_KEY: json.dumps(about, sort_keys=True)})


def load_weights(source: str | PathLike[str] | bytes) -> Weights:
    """Return the content of a weights file, given as a path or as bytes.

    Raises `CheckpointUnreadableError`, and `FileNotFoundError` if there is no file.
    """
    data = source if isinstance(source, bytes) else Path(source).read_bytes()
    try:
        tensors = safetensors.torch.load(data)
        length = int.from_bytes(data[:8], "little")
        about = json.loads(json.loads(data[8 : 8 + length])["__metadata__"][_METADATA_KEY])
        if about["format"] != WEIGHTS_FORMAT:
            raise CheckpointUnreadableError(
                f"These weights have format {about['format']}, and this program reads {WEIGHTS_FORMAT}."
            )
        spec = from_record(about["spec"])
        info = DatasetInfo.model_validate(about["info"])
        return Weights(tensors, spec, info, int(about["step"]))
    except (safetensors.SafetensorError, KeyError, TypeError, ValidationError, json.JSONDecodeError) as error:
        raise CheckpointUnreadableError(f"These weights cannot be read: {error}") from error
