"""Requests about webhooks and their deliveries."""

from __future__ import annotations

from collections.abc import Sequence

from gantry.arguments import as_list, path_of
from gantry.connection import MAX_PAGE_ITEMS, Connection, Json


class WebhookEndpoints(Connection):
    """Requests about webhooks and their deliveries."""

    def add_webhook(self, url: str, events: str | Sequence[str] = ()) -> Json:
        """Register a webhook and return it with its secret, which the service does not show again."""
        chosen = as_list(events)
        return self._create("/v1/webhooks", {"url": url, **({"events": chosen} if chosen else {})})

    def webhooks(self) -> Json:
        """Return a page of webhooks."""
        return self._json("GET", "/v1/webhooks", params={"limit": MAX_PAGE_ITEMS})

    def change_webhook(self, webhook_id: str, **changes: bool | str | Sequence[str]) -> Json:
        """Change `enabled` or `events` of a webhook and return it."""
        if "events" in changes:
            changes["events"] = as_list(changes["events"])
        return self._json("PATCH", path_of("webhooks", webhook_id), json=changes)

    def delete_webhook(self, webhook_id: str) -> None:
        """Delete a webhook and its deliveries."""
        self._send("DELETE", path_of("webhooks", webhook_id))

    def test_webhook(self, webhook_id: str) -> Json:
        """Send a `webhook.test` event to a webhook and return its delivery, which is pending."""
        return self._create(path_of("webhooks", webhook_id, "test"), {})

    def deliveries(self, webhook_id: str, **query: str | int) -> Json:
        """Return a page of the deliveries to a webhook, newest first."""
        return self._json("GET", path_of("webhooks", webhook_id, "deliveries"), params=query)

    def delivery(self, webhook_id: str, delivery_id: str) -> Json:
        """Return a delivery."""
        return self._json("GET", path_of("webhooks", webhook_id, "deliveries", delivery_id))

    def redeliver(self, webhook_id: str, delivery_id: str) -> Json:
        """Send a delivery again, with the same id, and return it."""
        return self._json("POST", path_of("webhooks", webhook_id, "deliveries", delivery_id, "redeliver"))
