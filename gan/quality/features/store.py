"""Files of feature networks: safetensors with metadata about the network, and a digest of both."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import safetensors
import safetensors.torch
from torch import Tensor

FORMAT: Final = 1
# All metadata is under one key, because safetensors writes several keys in an order that changes from call to call.
_METADATA_KEY: Final = "gantry"


class FeaturesUnreadableError(Exception):
    """The file of a feature network is damaged, or another version of this program wrote it."""


def digest(tensors: Mapping[str, Tensor]) -> str:
    """Return the sha256 of names, types, shapes and bytes of the tensors, in order of name."""
    sha256 = hashlib.sha256()
    for name in sorted(tensors):
        plain = tensors[name].detach().cpu().contiguous()
        sha256.update(f"{name} {plain.dtype} {tuple(plain.shape)}\n".encode())
        sha256.update(plain.numpy().tobytes())
    return sha256.hexdigest()


def write(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write tensors and metadata to `path` atomically: of two processes that write at once, one leaves its file."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    content = {"format": FORMAT, "about": dict(about), "sha256": _digest_of_both(plain, about)}
    replace(path, safetensors.torch.save(plain, {_METADATA_KEY: json.dumps(content, sort_keys=True)}))


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a file that `write` wrote, and compare its digest.

    Raises `FeaturesUnreadableError`, and `FileNotFoundError` if there is no file.
    """
    try:
        with safetensors.safe_open(path, "pt") as file:
            content = json.loads((file.metadata() or {}).get(_METADATA_KEY, "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, ValueError, OSError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise FeaturesUnreadableError(f"The feature network {path.name} cannot be read: {error}") from error
    if content.get("format") != FORMAT or content.get("sha256") != _digest_of_both(tensors, content.get("about", {})):
        raise FeaturesUnreadableError(
            f"The feature network {path.name} is damaged, or another version of this program wrote it."
        )
    return tensors, content["about"]


def replace(path: Path, content: bytes) -> None:
    """Write `content` to a temporary file and rename it to `path`, so that readers never see part of a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid.uuid4().hex}.new")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _digest_of_both(tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> str:
    return hashlib.sha256(f"{digest(tensors)}\n{json.dumps(about, sort_keys=True)}".encode()).hexdigest()
