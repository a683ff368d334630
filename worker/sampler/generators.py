"""What the sampler does on request.

A generator is for the one thread that draws, and so is `clear`; everything else is for any thread.
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
    model_config = ConfigDict(frozen=True, extra="forbid")


class ImageRequest(_SamplerModel):
    """One image: its class (none: an unconditional generator) and its seed."""

    class_id: int | None = Field(None, ge=0)
    seed: int = Field(ge=0)


class DrawRequest(_SamplerModel):
    """What the API asks for: images in row-major order, and as which file."""

    checkpoint_id: str
    images: tuple[ImageRequest, ...] = Field(min_length=1, max_length=1024)
    truncation: float = Field(1.0, gt=0, le=1)
    format: Literal["png", "zip", "npz"]
    rows: int = Field(1, ge=1)
    row_labels: tuple[str, ...] = ()
    manifest: dict[str, Any] = {}

    @property
    def class_ids(self) -> list[int] | None:
        """One an image, or none at all. Raises `ValueError` for some of each."""
        ids = [image.class_id for image in self.images if image.class_id is not None]
        if ids and len(ids) != len(self.images):
            raise ValueError("Either every image has a class or none has.")
        return ids or None


class EstimateRequest(_SamplerModel):
    """A resolved spec and the data set it is for."""

    spec: TrainSpec
    dataset: DatasetInfo


class Generators:
    """Generators in memory, by checkpoint, at most `cache` of them: the least used goes first."""

    def __init__(self, db: Database, storage: Storage, cache: int, device: torch.device) -> None:
        self._db, self._storage, self._cache, self.device = db, storage, cache, device
        self._generators: OrderedDict[str, TrainedGenerator] = OrderedDict()

    def __len__(self) -> int:
        return len(self._generators)

    def generator(self, checkpoint_id: str) -> TrainedGenerator:
        """The generator of that checkpoint: at hand, else loaded. Raises `CheckpointNotFoundError`, `DatabaseUnavailableError`,
        `ArtifactLostError`.
        """
        # The record is asked for a generator that is not at hand; for others the API, which alone comes here, has
        # asked it in the same breath: a deleted job draws no more.
        if checkpoint_id not in self._generators:
            self._generators[checkpoint_id] = self._load(*self._find(checkpoint_id), self.device)
            if len(self._generators) > self._cache:
                self._generators.popitem(last=False)
        self._generators.move_to_end(checkpoint_id)
        return self._generators[checkpoint_id]

    def encode(self, wish: DrawRequest, images: Images) -> bytes:
        """The file of what was drawn. Raises `ValueError` where the images do not fill the rows."""
        match wish.format:
            case "png":
                return encode.png(images, wish.rows, wish.row_labels)
            case "zip":
                return encode.zipped(images, wish.manifest)
            case "npz":
                return encode.npz(images, wish.class_ids)

    def export(self, checkpoint_id: str) -> bytes:
        """The generator as ONNX, kept beside its weights. Raises `ExportUnavailable` and what `generator` raises."""
        row, artifacts = self._find(checkpoint_id)
        key = keys.onnx(row.weights_key)
        if artifacts.exists(key):
            return artifacts.read_bytes(key)
        # A generator of its own: written from the processor, whatever device draws.
        data = to_onnx(self._load(row, artifacts, torch.device("cpu")))
        artifacts.put_bytes(key, data)
        return data

    def estimate(self, wish: EstimateRequest) -> ResourceEstimate:
        """Counts and bytes, from the networks' shapes alone."""
        return estimate(wish.spec, wish.dataset)

    def clear(self) -> None:
        """Forget every generator: their memory is needed."""
        self._generators.clear()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _find(self, checkpoint_id: str) -> tuple[Checkpoint, Storage]:
        """The checkpoint, and its tenant's files."""
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
