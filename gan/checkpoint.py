"""Bytes of a training run: a checkpoint (all that is needed to go on) and weights (G alone, to sample from).

A checkpoint is `torch.save` of tensors and plain values, read back with `weights_only=True`: no pickled class.
Weights are safetensors, with the spec and the data set's classes inside, so that the file alone can be sampled.
"""

from __future__ import annotations

import json
import pickle  # noqa: TID251 - for the name of the error that torch raises
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
# One key for everything: safetensors writes several in an order that changes from call to call.
_METADATA_KEY: Final = "gantry"


class CheckpointUnreadableError(Exception):
    """A file that is damaged, or that another version of this program wrote."""


def save(file: BinaryIO, state: Mapping[str, Any]) -> None:
    """Write `Trainer.state()` to an open binary file."""
    torch.save({"format": CHECKPOINT_FORMAT, "state": dict(state)}, file)


def load(path: str | PathLike[str], map_location: torch.device | str = "cpu") -> dict[str, Any]:
    """`Trainer.state()` as it was saved. Raises `CheckpointUnreadableError`; a missing file is FileNotFoundError."""
    if not zipfile.is_zipfile(path):
        Path(path).stat()
        raise CheckpointUnreadableError(f"The checkpoint {Path(path).name} is cut off or is no checkpoint.")
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
    """A generator as it is on disk."""

    tensors: dict[str, Tensor]
    spec: TrainSpec
    info: DatasetInfo
    step: int


def save_weights(weights: Mapping[str, Tensor], spec: TrainSpec, info: DatasetInfo, step: int) -> bytes:
    """G's weights as safetensors; the same weights, spec and step give the same bytes."""
    about = {
        "format": WEIGHTS_FORMAT,
        "step": step,
        "spec": spec.model_dump(mode="json"),
        "info": info.model_dump(mode="json"),
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    return safetensors.torch.save(tensors, {_METADATA_KEY: json.dumps(about, sort_keys=True)})


def load_weights(source: str | PathLike[str] | bytes) -> Weights:
    """Read what `save_weights` wrote, from a path or from bytes. Raises `CheckpointUnreadableError`, FileNotFoundError."""
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
