"""Bytes of a feature network: safetensors with what must be known of it inside, and a digest over both."""

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
# One key for everything: safetensors writes several in an order that changes from call to call.
_METADATA_KEY: Final = "gantry"


class FeaturesUnreadableError(Exception):
    """A feature network's file is damaged, or another version of this program wrote it."""


def digest(tensors: Mapping[str, Tensor]) -> str:
    """sha256 over names, types, shapes and bytes, in order of name."""
    found = hashlib.sha256()
    for name in sorted(tensors):
        plain = tensors[name].detach().cpu().contiguous()
        found.update(f"{name} {plain.dtype} {tuple(plain.shape)}\n".encode())
        found.update(plain.numpy().tobytes())
    return found.hexdigest()


def write(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write both to `path`, whole or not at all: two processes that write at once leave the file of one of them."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    content = {"format": FORMAT, "about": dict(about), "sha256": _seal(plain, about)}
    replace(path, safetensors.torch.save(plain, {_METADATA_KEY: json.dumps(content, sort_keys=True)}))


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `write` wrote, its digest compared. Raises `FeaturesUnreadableError`; a missing file is FileNotFoundError."""
    try:
        with safetensors.safe_open(path, "pt") as file:
            content = json.loads((file.metadata() or {}).get(_METADATA_KEY, "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, ValueError, OSError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise FeaturesUnreadableError(f"The feature network {path.name} cannot be read: {error}") from error
    if content.get("format") != FORMAT or content.get("sha256") != _seal(tensors, content.get("about", {})):
        raise FeaturesUnreadableError(
            f"The feature network {path.name} is damaged, or another version of this program wrote it."
        )
    return tensors, content["about"]


def replace(path: Path, content: bytes) -> None:
    """Write `content` beside `path`, then rename: a reader sees the old file or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{uuid.uuid4().hex}.new")
    try:
        with beside.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _seal(tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> str:
    return hashlib.sha256(f"{digest(tensors)}\n{json.dumps(about, sort_keys=True)}".encode()).hexdigest()
