"""A worker says that it is there, idle or busy, from a small thread of its main process."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from typing import Any, Final

import structlog

from jobs.db import Database, Session
from jobs.errors import UnavailableError
from jobs.runtime.settings import Settings
from jobs.store import workers

log = structlog.get_logger("gantry.presence")


BEAT_SECONDS: Final = 5.0
"""Longest time from one beat to the next: what a drain may wait to be heard."""


class Presence(threading.Thread):
    """Announces a worker, then beats every few seconds; `drain` is said at once, `leave` at the end.

    A worker that the database does not know, or knows no more, is announced again. `told_to_drain` is called, once,
    when somebody has asked for that by way of the database.
    """

    def __init__(
        self,
        settings: Settings,
        worker_id: str,
        devices: list[dict[str, Any]],
        gpus: int,
        told_to_drain: Callable[[], None],
    ) -> None:
        super().__init__(name="gantry-presence", daemon=True)
        self._url, self._interval = settings.database, min(BEAT_SECONDS, settings.lease_seconds / 4)
        self._told_to_drain = told_to_drain
        self._worker_id, self._devices, self._gpus = worker_id, devices, gpus
        self._draining = self._asked_to_drain = self._left = False
        self._wake = threading.Event()
        # The pool forks children while this thread runs: never in the middle of a statement, and never with an
        # open connection, of which the child would hold a copy.
        self._talking = threading.Lock()
        os.register_at_fork(
            before=self._talking.acquire,
            after_in_parent=self._talking.release,
            after_in_child=self._talking.release,
        )

    def drain(self) -> None:
        """Take no more jobs, and give back the one that is carried. Only sets a flag: safe in a signal's handler."""
        self._draining = True
        self._wake.set()

    def leave(self) -> None:
        """Say goodbye and stop."""
        self._left = True
        self._wake.set()
        self.join()
        self._heard(workers.remove)

    def run(self) -> None:
        while not self._left:
            self._wake.clear()
            heard = self._heard(self._beat)
            if self._asked_to_drain and not self._draining:
                log.info("this worker was asked to drain: it gives its job back and ends")
                self._draining = True
                self._told_to_drain()
            self._wake.wait(self._interval if heard else min(1.0, self._interval))

    def _heard(self, say: Callable[[Session, str], object]) -> bool:
        """Whether the database heard it."""
        try:
            self._talk(say)
        except UnavailableError as error:
            log.warning("the database does not hear this worker", reason=str(error))
            return False
        except Exception:
            # Blanket on purpose: nothing else watches this thread, and a worker that falls silent over one odd error
            # is taken for dead while it works. What it was is in the log; the next beat may fare better.
            log.exception("the database could not be told of this worker")
            return False
        return True

    def _talk(self, say: Callable[[Session, str], object]) -> None:
        with self._talking:
            db = Database(self._url)
            try:
                with db.write() as s:
                    say(s, self._worker_id)
            finally:
                db.dispose()

    def _beat(self, s: Session, worker_id: str) -> None:
        if not workers.heartbeat(s, worker_id, draining=self._draining):
            workers.register(s, worker_id, socket.gethostname(), self._devices, self._gpus)
            # An announcement is of a worker that takes jobs.
            workers.heartbeat(s, worker_id, draining=self._draining)
        self._asked_to_drain = workers.is_draining(s, worker_id)
