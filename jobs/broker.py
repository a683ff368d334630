"""The message to the workers. It says "there may be work" and nothing else.

It carries no job id, so it carries no authority. It may be lost, late or sent twice: only the database says which
jobs exist, and the sweeper sends a lost hint again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from celery import Celery
from kombu.exceptions import OperationalError

from jobs import hint_files
from jobs.db import Database
from jobs.errors import BrokerUnavailableError
from jobs.runtime import failpoints
from jobs.runtime.settings import Settings
from jobs.store import outbox

TASK_NAME: Final = "gantry.run_job"
QUEUE: Final = "gantry"

_REACHABLE_SECONDS: Final = 5
_POLL_SECONDS: Final = 0.2
"""How often a worker looks into the folder of messages. Both a hint and a request to stop wait for it."""


def make_app(settings: Settings) -> Celery:
    """Return a Celery app for this process. Nothing is connected yet."""
    app = Celery("gantry", broker=settings.broker, set_as_current=False)
    app.conf.update(
        task_default_queue=QUEUE,
        task_create_missing_queues=True,
        task_serializer="json",
        accept_content=["json"],
        result_backend=None,
        task_ignore_result=True,
        task_reject_on_worker_lost=False,
        worker_pool="prefork",
        worker_concurrency=1,
        worker_prefetch_multiplier=1,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_hijack_root_logger=False,
        worker_send_task_events=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_connection_timeout=_REACHABLE_SECONDS,
        broker_pool_acquire_timeout=_REACHABLE_SECONDS,
        **(_filesystem(settings) if _is_files(settings) else _redis()),
    )
    return app


def send_hint(app: Celery) -> None:
    """Send one hint, which wakes a worker. Raises `BrokerUnavailableError` within seconds when it is not accepted."""
    with _as_unavailable("The broker does not accept messages", app):
        app.send_task(TASK_NAME, queue=QUEUE, retry=False, ignore_result=True)


def check(app: Celery) -> None:
    """Raise `BrokerUnavailableError` when the broker cannot be reached within a few seconds, or accepts nothing."""
    with _as_unavailable("The broker does not respond", app), app.connection_for_write() as connection:
        connection.ensure_connection(max_retries=1, timeout=_REACHABLE_SECONDS, reraise_as_library_errors=True)
        connection.default_channel.queue_declare(QUEUE, passive=False, durable=True)


@contextmanager
def _as_unavailable(what: str, app: Celery) -> Iterator[None]:
    """Raise `BrokerUnavailableError` in place of any error of the transport.

    A full Redis, for example, raises an error of its own class.
    """
    transport = app.connection_for_write()
    try:
        yield
    except (OperationalError, OSError, *transport.connection_errors, *transport.channel_errors) as error:
        raise BrokerUnavailableError(f"{what}: {_reason(error)}.") from error


def relay_once(db: Database, app: Celery, limit: int = 50) -> int:
    """Send the hints that are due, and return how many. Raises `BrokerUnavailableError`, `DatabaseUnavailableError`.

    A hint is deleted only after it was sent. A crash in between sends it twice, which wakes a worker for nothing.
    """
    with db.read() as s:
        hints = outbox.fetch_due(s, limit)
    for hint in hints:
        send_hint(app)
        failpoints.passed("relay.sent")
        with db.write() as s:
            outbox.mark_sent(s, [hint])
        failpoints.passed("relay.crossed_off")
    return len(hints)


def _is_files(settings: Settings) -> bool:
    return settings.broker.startswith("filesystem://")


def _filesystem(settings: Settings) -> dict[str, Any]:
    folders = {name: settings.queue_dir / name for name in ("messages", "control", hint_files.TAKEN)}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    messages = str(folders["messages"])
    return {
        "broker_transport": "jobs.hint_files:Transport",
        # Acknowledge late, because prefetching cannot be switched off here. A message that a busy worker has
        # prefetched must stay available to an idle one.
        "task_acks_late": True,
        "broker_transport_options": {
            "data_folder_in": messages,
            "data_folder_out": messages,
            "control_folder": str(folders["control"]),
            "store_processed": False,
            "polling_interval": _POLL_SECONDS,
        },
    }


def _redis() -> dict[str, Any]:
    return {
        # Acknowledge early: the lease, not the message, owns a running job, so no visibility timeout starts it twice.
        "task_acks_late": False,
        "worker_disable_prefetch": True,
        # Without these, a worker with a half-open connection never receives a message again (celery#8030 and
        # similar).
        "broker_transport_options": {
            "socket_timeout": 10,
            "socket_connect_timeout": 5,
            "socket_keepalive": True,
            "health_check_interval": 5,
        },
    }


def _reason(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200].rstrip(".")
