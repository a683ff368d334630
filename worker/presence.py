"""The heartbeat of a worker, idle or busy: a thread of its main process that updates the worker's row."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from typing import Any, Final

import structlog

from gan.spec import BUILTIN_DATASETS, why_not_installed
from jobs.db import Database, Session
from jobs.errors import UnavailableError
from jobs.runtime.settings import Settings
from jobs.store import datasets, workers

log = structlog.get_logger("gantry.presence")


BEAT_SECONDS: Final = 5.0
"""Longest time between two heartbeats, in s. A request to drain takes effect within it."""


class Presence(threading.Thread):
    """A thread that registers a worker and sends a heartbeat every few seconds.

    If the worker's row is missing, the thread registers the worker again. `on_drain` is called once, when the
    database holds a request to drain this worker.
    """

    def __init__(
        self,
        settings: Settings,
        worker_id: str,
        devices: list[dict[str, Any]],
        gpus: int,
        on_drain: Callable[[], None],
    ) -> None:
        super().__init__(name="gantry-presence", daemon=True)
        self._url, self._interval = settings.database, min(BEAT_SECONDS, settings.lease_seconds / 4)
        self._on_drain = on_drain
        self._worker_id, self._devices, self._gpus = worker_id, devices, gpus
        self._draining = self._asked_to_drain = self._left = False
        self._wake = threading.Event()
        # The pool forks children while this thread runs. The lock keeps a fork from happening during a statement or
        # while a connection is open: the child would inherit a copy of it.
        self._connected = threading.Lock()
        os.register_at_fork(
            before=self._connected.acquire,
            after_in_parent=self._connected.release,
            after_in_child=self._connected.release,
        )

    def drain(self) -> None:
        """Take no more jobs and release the current one. Only sets a flag, so it is safe in a signal handler."""
        self._draining = True
        self._wake.set()

    def leave(self) -> None:
        """Stop the thread and remove the worker's row."""
        self._left = True
        self._wake.set()
        self.join()
        self._try_write(workers.remove)

    def run(self) -> None:
        """Send a heartbeat every interval until `leave`; drain once the record asks for it."""
        while not self._left:
            self._wake.clear()
            written = self._try_write(self._beat)
            if self._asked_to_drain and not self._draining:
                log.info("this worker was asked to drain: it releases its job and ends")
                self._draining = True
                self._on_drain()
            self._wake.wait(self._interval if written else min(1.0, self._interval))

    def _try_write(self, action: Callable[[Session, str], object]) -> bool:
        """Run `action` in a transaction. Returns whether it was committed."""
        try:
            self._write(action)
        except UnavailableError as error:
            log.warning("the heartbeat of this worker cannot be written", reason=str(error))
            return False
        except Exception:
            # Every exception is caught on purpose. Nothing else watches this thread, and a worker without heartbeats
            # counts as lost while it still works. The error is logged, and the next heartbeat may succeed.
            log.exception("the heartbeat of this worker failed")
            return False
        return True

    def _write(self, action: Callable[[Session, str], object]) -> None:
        with self._connected:
            db = Database(self._url)
            try:
                with db.write() as s:
                    action(s, self._worker_id)
            finally:
                db.dispose()

    def _beat(self, s: Session, worker_id: str) -> None:
        if not workers.heartbeat(s, worker_id, draining=self._draining):
            workers.register(s, worker_id, socket.gethostname(), self._devices, self._gpus)
            for name in BUILTIN_DATASETS:
                # A worker that lacks a set changes nothing: another one may have it.
                if not why_not_installed(name):
                    datasets.set_installed(s, name)
            # A new row says that the worker takes jobs.
            workers.heartbeat(s, worker_id, draining=self._draining)
        self._asked_to_drain = workers.is_draining(s, worker_id)
