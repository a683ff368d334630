"""Carries what webhooks are to be told, several at once, beside the relay. Any number of relays may do so."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import structlog

from jobs.db import Database
from jobs.errors import UnavailableError
from jobs.relay.webhooks.addresses import AddressChecker
from jobs.relay.webhooks.sender import WebhookSender
from jobs.runtime.settings import Settings
from jobs.store.callers import deliveries
from jobs.store.callers.deliveries import DeliveryOutcome, PendingDelivery

log = structlog.get_logger("gantry.webhooks")

AT_ONCE: Final = 8
LEASE_SECONDS: Final = 120.0
"""After which a relay that has a delivery in hand is taken for lost; several times what a delivery may take."""

_TELLS: Final = 10


class WebhookDispatcher(threading.Thread):
    """Takes what is due and sends it, until `stop` is set; one at a time to a webhook, so that a slow one waits for
    itself alone, and half of all hands at the most to a tenant.
    """

    def __init__(self, settings: Settings, stop: threading.Event, sender: WebhookSender | None = None) -> None:
        super().__init__(name="gantry-postman", daemon=True)
        self._settings, self._stop_asked = settings, stop
        self._sender = sender or WebhookSender(AddressChecker(allow_private=settings.webhook_allow_private))
        self._db = Database(settings.database)
        self._lock = threading.Lock()
        self._in_hand: set[PendingDelivery] = set()

    def run(self) -> None:
        log.info("webhooks are told")
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="gantry-webhook") as hands:
            while not self._stop_asked.is_set():
                while len(self._in_hand) < AT_ONCE and (delivery := self._take()) is not None:
                    hands.submit(self._deliver, delivery)
                self._stop_asked.wait(self._settings.poll_seconds)
        self._db.dispose()

    def _take(self, done: PendingDelivery | None = None) -> PendingDelivery | None:
        """The next letter, in the place of the one that is done; None: there is none, or the record is away."""
        with self._lock:
            if done is not None:
                self._in_hand.discard(done)
            if self._stop_asked.is_set():
                return None
            busy = {delivery.webhook_id for delivery in self._in_hand}
            tenants = Counter(delivery.tenant for delivery in self._in_hand)
            full = {tenant for tenant, count in tenants.items() if count >= AT_ONCE // 2}
            delivery = self._heard(lambda: self._claim(busy, full))
            if delivery is not None:
                self._in_hand.add(delivery)
        return delivery

    def _claim(self, busy: set[str], full: set[str]) -> PendingDelivery | None:
        with self._db.read() as s:
            if not deliveries.has_due(s, busy, full):
                return None
        with self._db.write() as s:
            return deliveries.claim(s, LEASE_SECONDS, busy, full)

    def _heard(self, ask: Callable[[], PendingDelivery | None]) -> PendingDelivery | None:
        try:
            return ask()
        except UnavailableError as error:
            log.warning("trying again", reason=str(error))
            self._stop_asked.wait(1)
        except Exception:
            # Nothing else watches these threads: an odd error must not end one in silence.
            log.exception("webhooks could not be looked for")
        return None

    def _deliver(self, delivery: PendingDelivery | None) -> None:
        while delivery is not None:
            try:
                outcome = self._sender.send(delivery)
                self._tell(delivery, outcome)
            except Exception:
                log.exception("a webhook could not be told", webhook_id=delivery.webhook_id, delivery_id=delivery.id)
            delivery = self._take(done=delivery)

    def _tell(self, delivery: PendingDelivery, outcome: DeliveryOutcome) -> None:
        """Write down what came of it; where the record is away for long, it is sent again, under the same id."""
        for _ in range(_TELLS):
            try:
                with self._db.write() as s:
                    state = deliveries.record_outcome(s, delivery, outcome)
            except UnavailableError:
                self._stop_asked.wait(1)
                continue
            about = {
                "delivery_id": delivery.id,
                "attempt": delivery.attempt,
                "answered": outcome.status,
                "state": state,
            }
            log.info("webhook called", webhook_id=delivery.webhook_id, **about, reason=outcome.error)
            return
        log.warning("what came of a delivery is not on record", delivery_id=delivery.id)
