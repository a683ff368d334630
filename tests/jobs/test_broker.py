"""Tests of hints from the outbox to the broker, with both brokers, and without a reachable one."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from jobs import broker, hint_files
from jobs.checks import check_all
from jobs.db import Database
from jobs.errors import BrokerUnavailableError
from jobs.relay import sweeper
from jobs.runtime.settings import Settings
from jobs.store import outbox, workers
from tests.conftest import small_settings
from tests.jobs.helpers import submit


@pytest.fixture
def app(settings: Settings) -> Iterator[Celery]:
    made = broker.make_app(settings)
    with made.connection_for_write() as connection:
        connection.default_channel.queue_declare(broker.QUEUE, durable=True)
        connection.default_channel.queue_purge(broker.QUEUE)
    yield made
    made.close()


def _waiting(app: Celery, count: int) -> list[Any]:
    """Return all waiting messages, of which `count` are expected."""
    found: list[Any] = []
    with app.connection_for_read() as connection:
        queue = connection.SimpleQueue(broker.QUEUE)
        try:
            while True:
                message = queue.get(block=True, timeout=60 if len(found) < count else 0.3)
                found.append(message)
                message.ack()
        except queue.Empty:
            return found


def test_a_submitted_job_sends_one_hint_without_its_id(app: Celery, db: Database) -> None:
    job = submit(db)
    assert broker.relay_once(db, app) == 1
    assert broker.relay_once(db, app) == 0
    (message,) = _waiting(app, 1)
    assert message.headers["task"] == broker.TASK_NAME
    assert job.id not in str(message.body)


def test_a_lost_hint_is_sent_again_for_an_idle_worker(app: Celery, db: Database, settings: Settings) -> None:
    submit(db), submit(db)
    short = settings.model_copy(update={"republish_seconds": -1})
    broker.relay_once(db, app)
    assert len(_waiting(app, 2)) == 2
    sweeper.sweep_once(db, short)
    assert broker.relay_once(db, app) == 0, "no worker is idle"
    with db.write() as s:
        workers.register(s, "w1", "host", [])
    long = settings.model_copy(update={"republish_seconds": 1000})
    sweeper.sweep_once(db, long)
    assert broker.relay_once(db, app) == 0
    sweeper.sweep_once(db, short)
    assert broker.relay_once(db, app) == 1, "one worker, one hint, though two jobs wait"


def test_a_hint_stays_in_the_outbox_while_the_broker_is_unreachable(db: Database, settings: Settings) -> None:
    submit(db)
    unreachable = broker.make_app(settings.model_copy(update={"broker_url": "redis://127.0.0.1:9/0"}))
    with pytest.raises(BrokerUnavailableError, match="does not accept messages"):
        broker.relay_once(db, unreachable)
    with pytest.raises(BrokerUnavailableError, match="does not respond"):
        broker.check(unreachable)
    with db.read() as s:
        assert len(outbox.fetch_due(s, 10)) == 1


def test_a_reachable_broker_passes_the_check(app: Celery) -> None:
    broker.check(app)


def test_a_queue_folder_that_cannot_be_written_is_named(tmp_path: Any) -> None:
    made = broker.make_app(small_settings(tmp_path))
    folder = tmp_path / "data" / "queue" / "messages"
    folder.rmdir()
    folder.write_text("a file where the folder was")
    with pytest.raises(BrokerUnavailableError):
        broker.send_hint(made)


_DAMAGE = [b"", b"\0" * 300, b'{"body": "W1', b"\xff\xfe", b"null", b"[]", b'{"properties": {}}', b'{"body": "e30="}']


def test_damaged_messages_are_set_aside_and_reported_and_the_next_is_read(tmp_path: Path) -> None:
    settings = small_settings(tmp_path)
    made, folder = broker.make_app(settings), settings.queue_dir / "messages"
    for number, content in enumerate(_DAMAGE):
        (folder / f"{number}_half.{broker.QUEUE}.msg").write_bytes(content)
    (folder / "2_other.unfinished").write_text('{"body"')
    broker.send_hint(made)
    (found,) = _waiting(made, 1)
    assert found.headers["task"] == broker.TASK_NAME
    aside = hint_files.damaged(settings.queue_dir)
    assert sorted(path.read_bytes() for path in aside) == sorted(_DAMAGE)
    works, detail = check_all(settings)["broker"]
    assert works and f"{len(_DAMAGE)} damaged files were set aside in {settings.queue_dir / 'damaged'}" in detail
    assert [path.name for path in folder.iterdir()] == ["2_other.unfinished"]


@pytest.mark.parametrize("content", _DAMAGE)
def test_a_damaged_table_of_bindings_loses_none_of_this_process(tmp_path: Path, content: bytes) -> None:
    settings = small_settings(tmp_path)
    made, table = broker.make_app(settings), settings.queue_dir / "control" / "control.exchange"
    with made.connection_for_write() as connection:
        channel = connection.default_channel
        channel._queue_bind("control", "k", "", "one")
        table.write_bytes(content)
        broker.send_hint(made)
        assert [row.queue for row in channel.get_table("control")] == ["one"]
        channel._queue_bind("control", "k", "", "two")
        assert {row.queue for row in channel.get_table("control")} == {"one", "two"}
        channel._delete("one", "control", "k", "")
        assert [row[2] for row in json.loads(table.read_text())] == ["two"]
    assert len(_waiting(made, 1)) == 1


def test_a_queue_on_a_full_disk_is_an_error_that_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = broker.make_app(small_settings(tmp_path))
    with monkeypatch.context() as full:

        def no_room(*_: object, **__: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        full.setattr(Path, "write_text", no_room)
        with pytest.raises(BrokerUnavailableError, match="No space left on device"):
            broker.send_hint(made)
    broker.send_hint(made)
    assert len(_waiting(made, 1)) == 1
    assert list((tmp_path / "data" / "queue").rglob("*.unfinished")) == []
    made.close()


def test_a_message_has_its_name_only_when_it_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = broker.make_app(small_settings(tmp_path))
    folder = tmp_path / "data" / "queue" / "messages"
    seen: list[list[str]] = []
    rename = Path.replace

    def note(self: Path, target: Path) -> Path:
        seen.append([path.suffix for path in folder.iterdir()])
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", note)
    broker.send_hint(made)
    assert seen == [[".unfinished"]] and len(list(folder.glob("*.msg"))) == 1
    made.close()
