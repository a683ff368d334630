"""Carries what webhooks are to be told, several at once, beside the relay. Any number of relays may do so."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import structlog

from api.hooks.addresses import Addresses
from api.hooks.sender import Sender
from jobs.db import Database
from jobs.errors import Unavailable
from jobs.settings import Settings
from jobs.store import deliveries
from jobs.store.deliveries import Letter, Outcome

log = structlog.get_logger("gantry.webhooks")

AT_ONCE: Final = 8
LEASE_SECONDS: Final = 120.0
"""After which a relay that has a delivery in hand is taken for lost; several times what a delivery may take."""

_TELLS: Final = 10


class Postman(threading.Thread):
    """Takes what is due and sends it, until `stop` is set; one at a time to a webhook, so that a slow one waits for
    itself alone, and half of all hands at the most to a tenant.
    """

    def __init__(self, settings: Settings, stop: threading.Event, sender: Sender | None = None) -> None:
        super().__init__(name="gantry-postman", daemon=True)
        self._settings, self._stop_asked = settings, stop
        self._sender = sender or Sender(Addresses(allow_private=settings.webhook_allow_private))
        self._db = Database(settings.database)
        self._lock = threading.Lock()
        self._in_hand: set[Letter] = set()

    def run(self) -> None:
        log.info("webhooks are told")
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="gantry-webhook") as hands:
            while not self._stop_asked.is_set():
                while len(self._in_hand) < AT_ONCE and (letter := self._take()) is not None:
                    hands.submit(self._deliver, letter)
                self._stop_asked.wait(self._settings.poll_seconds)
        self._db.dispose()

    def _take(self, done: Letter | None = None) -> Letter | None:
        """The next letter, in the place of the one that is done; None: there is none, or the record is away."""
        with self._lock:
            if done is not None:
                self._in_hand.discard(done)
            if self._stop_asked.is_set():
                return None
            busy = {letter.webhook_id for letter in self._in_hand}
            tenants = Counter(letter.tenant for letter in self._in_hand)
            full = {tenant for tenant, count in tenants.items() if count >= AT_ONCE // 2}
            letter = self._heard(lambda: self._claim(busy, full))
            if letter is not None:
                self._in_hand.add(letter)
        return letter

    def _claim(self, busy: set[str], full: set[str]) -> Letter | None:
        with self._db.read() as s:
            if not deliveries.waiting(s, busy, full):
                return None
        with self._db.write() as s:
            return deliveries.claim(s, LEASE_SECONDS, busy, full)

    def _heard(self, ask: Callable[[], Letter | None]) -> Letter | None:
        try:
            return ask()
        except Unavailable as error:
            log.warning("trying again", reason=str(error))
            self._stop_asked.wait(1)
        except Exception:
            # Nothing else watches these threads: an odd error must not end one in silence.
            log.exception("webhooks could not be looked for")
        return None

    def _deliver(self, letter: Letter | None) -> None:
        while letter is not None:
            try:
                outcome = self._sender.send(letter)
                self._tell(letter, outcome)
            except Exception:
                log.exception("a webhook could not be told", webhook_id=letter.webhook_id, delivery_id=letter.id)
            letter = self._take(done=letter)

    def _tell(self, letter: Letter, outcome: Outcome) -> None:
        """Write down what came of it; where the record is away for long, it is sent again, under the same id."""
        for _ in range(_TELLS):
            try:
                with self._db.write() as s:
                    state = deliveries.settle(s, letter, outcome)
            except Unavailable:
                self._stop_asked.wait(1)
                continue
            about = {"delivery_id": letter.id, "attempt": letter.attempt, "answered": outcome.status, "state": state}
            log.info("webhook called", webhook_id=letter.webhook_id, **about, reason=outcome.error)
            return
        log.warning("what came of a delivery is not on record", delivery_id=letter.id)
