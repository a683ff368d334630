"""The generators that the sampler keeps in memory, and what it makes of them.

Only the one thread that draws may use a generator or call `clear`. All other methods are safe from any thread.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field

from gan.checkpoint import CheckpointUnreadableError
from gan.estimate import ResourceEstimate, estimate
from gan.export import to_onnx
from gan.sample import Images, TrainedGenerator
from gan.spec import DatasetInfo, TrainSpec
from jobs.db import Database
from jobs.errors import ArtifactLostError
from jobs.models import Checkpoint
from jobs.storage import Storage, keys
from jobs.store import checkpoints, jobs
from worker.sampler import encode


class _SamplerModel(BaseModel):
    """The base of all request bodies of the sampler."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ImageRequest(_SamplerModel):
    """One image: its class (None for an unconditional generator) and its seed."""

    class_id: int | None = Field(None, ge=0)
    seed: int = Field(ge=0)


class DrawRequest(_SamplerModel):
    """A request of the API: images in row-major order, and the file format."""

    checkpoint_id: str
    images: tuple[ImageRequest, ...] = Field(min_length=1, max_length=1024)
    truncation: float = Field(1.0, gt=0, le=1)
    format: Literal["png", "zip", "npz"]
    rows: int = Field(1, ge=1)
    row_labels: tuple[str, ...] = ()
    manifest: dict[str, Any] = {}

    @property
    def class_ids(self) -> list[int] | None:
        """One class id for each image; None if no image has one. Raises `ValueError` if only some have one."""
        ids = [image.class_id for image in self.images if image.class_id is not None]
        if ids and len(ids) != len(self.images):
            raise ValueError("Either every image has a class or none has.")
        return ids or None


class EstimateRequest(_SamplerModel):
    """A request of the API: a resolved spec and its data set."""

    spec: TrainSpec
    dataset: DatasetInfo


class Generators:
    """At most `cache` generators in memory, by checkpoint; the least recently used is dropped first."""

    def __init__(self, db: Database, storage: Storage, cache: int, device: torch.device) -> None:
        self._db, self._storage, self._cache, self.device = db, storage, cache, device
        self._generators: OrderedDict[str, TrainedGenerator] = OrderedDict()

    def __len__(self) -> int:
        return len(self._generators)

    def generator(self, checkpoint_id: str) -> TrainedGenerator:
        """Return the generator of that checkpoint, from memory or loaded.

        Raises `CheckpointNotFoundError`, `DatabaseUnavailableError`, `ArtifactLostError`.
        """
        # The database is asked only for a generator that is not in memory. For the others the API, the only client,
        # has just asked it, so that a deleted job draws nothing.
        if checkpoint_id not in self._generators:
            self._generators[checkpoint_id] = self._load(*self._find(checkpoint_id), self.device)
            if len(self._generators) > self._cache:
                self._generators.popitem(last=False)
        self._generators.move_to_end(checkpoint_id)
        return self._generators[checkpoint_id]

    def encode(self, request: DrawRequest, images: Images) -> bytes:
        """Return the drawn images as a file. Raises `ValueError` if they do not fill the rows."""
        match request.format:
            case "png":
                return encode.png(images, request.rows, request.row_labels)
            case "zip":
                return encode.zipped(images, request.manifest)
            case "npz":
                return encode.npz(images, request.class_ids)

    def export(self, checkpoint_id: str) -> bytes:
        """Return the generator as ONNX, stored beside its weights.

        Raises `OnnxUnavailableError` and what `generator` raises.
        """
        row, artifacts = self._find(checkpoint_id)
        key = keys.onnx(row.weights_key)
        if artifacts.exists(key):
            return artifacts.read_bytes(key)
        # Loaded anew on the CPU, whatever device draws.
        data = to_onnx(self._load(row, artifacts, torch.device("cpu")))
        artifacts.put_bytes(key, data)
        return data

    def estimate(self, request: EstimateRequest) -> ResourceEstimate:
        """Return parameter counts and bytes, computed from the shapes of the networks."""
        return estimate(request.spec, request.dataset)

    def clear(self) -> None:
        """Drop every generator to free memory."""
        self._generators.clear()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _find(self, checkpoint_id: str) -> tuple[Checkpoint, Storage]:
        """Return the checkpoint's row and the storage of its tenant."""
        with self._db.read() as s:
            row = checkpoints.get(s, checkpoint_id)
            return row, self._storage.artifacts(jobs.get(s, row.job_id).tenant)

    def _load(self, row: Checkpoint, artifacts: Storage, device: torch.device) -> TrainedGenerator:
        artifacts.verify(row.weights_key, row.weights_bytes, row.weights_sha256)
        try:
            with artifacts.local_path(row.weights_key) as path:
                return TrainedGenerator.load(path, device)
        except (CheckpointUnreadableError, FileNotFoundError) as error:
            raise ArtifactLostError(f"The weights of {row.id} cannot be read: {error}") from error
