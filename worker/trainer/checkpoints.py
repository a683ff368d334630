"""The checkpoints of an attempt: saved so that a kill at any moment leaves a good one, and restored.

The order makes this safe: the metrics up to step s are committed, then the files of step s are durable, then their
row is registered under the fence, then checkpoints that are no longer needed are deleted.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO, Final, cast

import structlog
from torch import Tensor

from gan import checkpoint
from gan.checkpoint import CheckpointUnreadableError
from gan.spec import TrainSpec
from gan.spec.catalog import DatasetInfo
from gan.train import Trainer
from jobs.db import Database, Session
from jobs.errors import ArtifactLostError
from jobs.models import Checkpoint
from jobs.runtime import failpoints
from jobs.storage import Storage, StoredFile, keys
from jobs.store import checkpoints, files
from worker.trainer.fenced_writer import FencedWriter

log = structlog.get_logger("gantry.checkpoints")

MOST_FAILURES: Final = 3
"""Saves in a row that may fail on a full disk before the attempt fails."""
NO_ROOM: Final = "The disk was full; training continues, and the next checkpoint is tried when it is due."
_SPARE: Final = 2


class DiskFullError(Exception):
    """The disk had no room for several checkpoints in a row, or for the last one."""


class NoUsableCheckpointError(Exception):
    """The job had checkpoints, and none of them can be read."""


@dataclass(frozen=True, eq=False)
class CheckpointCopy:
    """A trainer between two steps: copies of `Trainer.state()` and `Trainer.weights()`, spec and data set."""

    step: int
    state: Mapping[str, Any]
    weights: Mapping[str, Tensor]
    spec: TrainSpec
    info: DatasetInfo


class CheckpointManager:
    """Saves and restores checkpoints of one attempt. The `keep_last` newest and the best are kept."""

    def __init__(self, writer: FencedWriter, artifacts: Storage, keep_last: int) -> None:
        self._writer, self._artifacts, self._keep_last = writer, artifacts, keep_last
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="gantry-checkpoints")
        self._pending: Future[None] | None = None
        self._saved_step: int | None = None
        self._failures = self._last_bytes = 0

    @property
    def has_room(self) -> bool:
        """Whether the disk had room for the last checkpoint."""
        return self._failures == 0

    def tidy(self) -> None:
        """Delete the files that the record does not name. Raises `FencedError`.

        An earlier attempt was killed or fenced before it registered them, or while it deleted old checkpoints.
        """
        # The files are listed before the fence. So all of them belong to attempts that are over and can no longer
        # register them; files of a successor are not among them, even if this process was stopped for long.
        written = files.written(self._artifacts, self._writer.job_id)
        named: set[str] = set()
        self._writer.write(lambda s: named.update(files.recorded_keys(s, self._writer.job_id)))
        self._delete_unnamed(written, named)

    def tidy_after_all(self, db: Database) -> None:
        """Delete the unregistered files of this attempt, which is fenced and writes no more."""
        written = files.written(self._artifacts, self._writer.job_id)
        mine = [key for key in written if keys.is_of_attempt(key, self._writer.attempt)]
        with db.read() as s:
            named = files.recorded_keys(s, self._writer.job_id)
        self._delete_unnamed(mine, named)

    def restore(self) -> dict[str, Any] | None:
        """Return the state of the newest intact checkpoint; None if the job never had one.

        Damaged ones are marked bad. Raises `NoUsableCheckpointError` if all of them are damaged.
        """
        job_id = self._writer.job_id
        while (row := self._writer.read(lambda s: checkpoints.newest_ready(s, job_id))) is not None:
            try:
                self._artifacts.verify(row.key, row.bytes, row.sha256)
                with self._artifacts.local_path(row.key) as path:
                    state = checkpoint.load(path)
            except (ArtifactLostError, CheckpointUnreadableError) as error:
                log.warning("a checkpoint cannot be read; the one before is tried", step=row.step, error=str(error))
                self._writer.write(partial(checkpoints.mark_bad, checkpoint_id=row.id, why=str(error)))
            else:
                self._saved_step, self._last_bytes = row.step, row.bytes + row.weights_bytes
                return state
        if count := self._writer.read(lambda s: checkpoints.count(s, job_id)):
            raise NoUsableCheckpointError(f"None of the {count} checkpoints of this job can be read.")
        return None

    def save(
        self,
        trainer: Trainer,
        metrics: Mapping[str, float | None],
        *,
        final: bool = False,
        best: bool = False,
    ) -> None:
        """Save the state of `trainer`, whose metrics are posted already. With `best` it is kept as the best.

        The state is copied here and written by a thread while training continues. Only a `final` save is waited for.
        A step that is saved already is not saved again. The call waits for the previous save and raises its error:
        `FencedError`, or `DiskFullError` after `MOST_FAILURES` failures in a row or for the final checkpoint.
        """
        self.finish()
        if trainer.step == self._saved_step:
            return
        copy = CheckpointCopy(trainer.step, trainer.state(), trainer.weights(), trainer.spec, trainer.info)
        self._pending = self._pool.submit(self._save_copy, copy, dict(metrics), final, best)
        if final:
            self.finish()

    def finish(self) -> bool:
        """Wait for the current save. Returns whether the disk had room for it. Raises its error."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()
        return self.has_room

    def raise_if_failed(self) -> None:
        """Raise the error of the last save, if it is done and failed."""
        if self.is_idle:
            self.finish()

    @property
    def is_idle(self) -> bool:
        """Whether no save is in progress."""
        return self._pending is None or self._pending.done()

    def close(self) -> None:
        """Wait until no save is in progress, and ignore its error."""
        self._pool.shutdown()

    def _save_copy(self, copy: CheckpointCopy, metrics: dict[str, Any], final: bool, best: bool) -> None:
        try:
            self._require_room()
            file, weights = self._write(copy)
        except (OSError, RuntimeError) as error:
            if not is_disk_full(error):
                raise
            self._record_failure(copy.step, final, error)
            return
        self._register(copy.step, metrics, file, weights, best)
        self._saved_step, self._failures, self._last_bytes = copy.step, 0, file.bytes + weights.bytes
        log.info("checkpoint saved", step=copy.step, bytes=file.bytes, best=best)

    def _record_failure(self, step: int, final: bool, error: Exception) -> None:
        """Record that the disk was full. Raises `DiskFullError` after too many failures, or if the save is final."""
        self._failures += 1
        log.warning("no room for a checkpoint", step=step, failures=self._failures)
        job_id, attempt = self._writer.job_id, self._writer.attempt
        self._writer.post(lambda s: checkpoints.record_failure(s, job_id, attempt, step, NO_ROOM))
        if final or self._failures >= MOST_FAILURES:
            raise DiskFullError(f"The disk had no room for the checkpoint of step {step}.") from error

    def _require_room(self) -> None:
        """Raise ENOSPC unless the disk can hold two more checkpoints of the last size.

        A disk that is completely full would also stop a database on the same disk.
        """
        if self._artifacts.free_bytes() < _SPARE * self._last_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _write(self, copy: CheckpointCopy) -> tuple[StoredFile, StoredFile]:
        place = (self._writer.job_id, copy.step, self._writer.attempt)
        key, weights_key = keys.checkpoint(*place), keys.weights(*place)
        with self._artifacts.writing(key) as out:
            checkpoint.save(cast(BinaryIO, out), copy.state)
            failpoints.passed("checkpoint.written")
        try:
            weights = checkpoint.save_weights(copy.weights, copy.spec, copy.info, copy.step)
            return out.stored, self._artifacts.put_bytes(weights_key, weights)
        except OSError:
            self._artifacts.delete(key)
            raise

    def _register(
        self, step: int, metrics: dict[str, Any], file: StoredFile, weights: StoredFile, best: bool
    ) -> None:
        job_id, attempt = self._writer.job_id, self._writer.attempt
        retired: list[Checkpoint] = []

        def register(s: Session) -> None:
            newest = checkpoints.newest_ready(s, job_id)
            if newest is None or (newest.step, newest.attempt) != (step, attempt):
                checkpoints.register(s, job_id, attempt, step, metrics, file, weights, best=best)
            retired[:] = checkpoints.retire(s, job_id, self._keep_last)
            failpoints.passed("checkpoint.before_commit")

        failpoints.passed("checkpoint.renamed")
        self._writer.write(register)
        self._writer.clear_checkpoint_request()
        failpoints.passed("checkpoint.committed")
        for row in retired:
            for key in _keys(row):
                self._artifacts.delete(key)

    def _delete_unnamed(self, written: Iterable[str], named: Collection[str]) -> None:
        for key in written:
            if key not in named:
                log.info("deleted a file that no row names", file=key)
                self._artifacts.delete(key)


def _keys(row: Checkpoint) -> tuple[str, str, str]:
    return row.key, row.weights_key, keys.onnx(row.weights_key)


def is_disk_full(error: Exception) -> bool:
    """Return whether `error` means a full disk. torch's writer raises a RuntimeError instead of an OSError."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return "inline_container" in str(error) or "PytorchStreamWriter" in str(error)
