"""The webhook dispatcher: it sends due deliveries, several at once. Any number of relays may run one."""

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
"""The time after which a relay that sends a delivery is presumed lost: several times the maximum of one delivery."""

_WRITE_TRIES: Final = 10


class WebhookDispatcher(threading.Thread):
    """A thread that sends due deliveries until `stop` is set.

    It sends one delivery at a time to a webhook, so that a slow receiver delays only its own deliveries. One tenant
    gets at most half of the sending threads.
    """

    def __init__(self, settings: Settings, stop: threading.Event, sender: WebhookSender | None = None) -> None:
        super().__init__(name="gantry-dispatcher", daemon=True)
        self._settings, self._stop_requested = settings, stop
        self._sender = sender or WebhookSender(AddressChecker(allow_private=settings.webhook_allow_private))
        self._db = Database(settings.database)
        self._lock = threading.Lock()
        self._in_progress: set[PendingDelivery] = set()

    def run(self) -> None:
        """Send due deliveries until `stop` is set, then wait for those that are being sent."""
        log.info("webhook dispatcher started")
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="gantry-webhook") as senders:
            while not self._stop_requested.is_set():
                while len(self._in_progress) < AT_ONCE and (delivery := self._take()) is not None:
                    senders.submit(self._deliver, delivery)
                self._stop_requested.wait(self._settings.poll_seconds)
        self._db.dispose()

    def _take(self, done: PendingDelivery | None = None) -> PendingDelivery | None:
        """Claim the next delivery in place of the one that is done.

        None: nothing is due, `stop` is set, or the database cannot be reached.
        """
        with self._lock:
            if done is not None:
                self._in_progress.discard(done)
            if self._stop_requested.is_set():
                return None
            busy = {delivery.webhook_id for delivery in self._in_progress}
            tenants = Counter(delivery.tenant for delivery in self._in_progress)
            full = {tenant for tenant, count in tenants.items() if count >= AT_ONCE // 2}
            delivery = self._guarded(lambda: self._claim(busy, full))
            if delivery is not None:
                self._in_progress.add(delivery)
        return delivery

    def _claim(self, busy: set[str], full: set[str]) -> PendingDelivery | None:
        with self._db.read() as s:
            if not deliveries.has_due(s, busy, full):
                return None
        with self._db.write() as s:
            return deliveries.claim(s, LEASE_SECONDS, busy, full)

    def _guarded(self, claim: Callable[[], PendingDelivery | None]) -> PendingDelivery | None:
        try:
            return claim()
        except UnavailableError as error:
            log.warning("the database does not respond; trying again", reason=str(error))
            self._stop_requested.wait(1)
        except Exception:
            # Nothing else watches these threads: an unexpected error must not end one silently.
            log.exception("looking for due deliveries failed")
        return None

    def _deliver(self, delivery: PendingDelivery | None) -> None:
        while delivery is not None:
            try:
                outcome = self._sender.send(delivery)
                self._record(delivery, outcome)
            except Exception:
                log.exception("sending a delivery failed", webhook_id=delivery.webhook_id, delivery_id=delivery.id)
            delivery = self._take(done=delivery)

    def _record(self, delivery: PendingDelivery, outcome: DeliveryOutcome) -> None:
        """Record the outcome of an attempt.

        If the database stays away for too long, nothing is recorded and the delivery is sent again under the same id.
        """
        for _ in range(_WRITE_TRIES):
            try:
                with self._db.write() as s:
                    state = deliveries.record_outcome(s, delivery, outcome)
            except UnavailableError:
                self._stop_requested.wait(1)
                continue
            details = {
                "delivery_id": delivery.id,
                "attempt": delivery.attempt,
                "answered": outcome.status,
                "state": state,
            }
            log.info("webhook called", webhook_id=delivery.webhook_id, **details, reason=outcome.error)
            return
        log.warning("the outcome of a delivery could not be recorded", delivery_id=delivery.id)
