"""A worker says that it is there, idle or busy, from a small thread of its main process."""

from __future__ import annotations

import os
import socket
import threading
from typing import Any

import structlog

from jobs.db import Database
from jobs.errors import DatabaseUnavailable
from jobs.settings import Settings
from jobs.store import workers

log = structlog.get_logger("gantry.presence")


class Presence(threading.Thread):
    """Announces a worker, then beats every quarter of the lease; `drain` is said at once, `leave` at the end."""

    def __init__(self, settings: Settings, worker_id: str, devices: list[dict[str, Any]], gpus: int) -> None:
        super().__init__(name="gantry-presence", daemon=True)
        self._url, self._interval = settings.database, settings.lease_seconds / 4
        self._worker_id, self._devices, self._gpus = worker_id, devices, gpus
        self._announced, self._draining, self._left = False, False, False
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
        self._say("leave")

    def run(self) -> None:
        while not self._left:
            self._wake.clear()
            heard = self._say("beat" if self._announced else "announce")
            self._wake.wait(self._interval if heard else min(1.0, self._interval))

    def _say(self, what: str) -> bool:
        """Whether the database heard it."""
        with self._talking:
            db = Database(self._url)
            try:
                with db.write() as s:
                    if what == "announce":
                        workers.announce(s, self._worker_id, socket.gethostname(), self._devices, self._gpus)
                    elif what == "beat":
                        workers.beat(s, self._worker_id, draining=self._draining)
                    else:
                        workers.leave(s, self._worker_id)
                self._announced = True
                return True
            except DatabaseUnavailable as error:
                log.warning("the database does not hear this worker", what=what, error=str(error))
                return False
            finally:
                db.dispose()
