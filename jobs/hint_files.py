"""The queue of files that the embedded default uses as its broker: kombu's transport, with atomic writes.

kombu creates a file and fills it afterwards. A process that reads it in between, or after a disk was full or the
power failed, gets half of it, and Celery ends with an error. Here a file gets its name when it is complete. A damaged
one is set aside and logged. It counts as a lost hint, which the sweeper sends again, or as a table of bindings that
each process knows by itself.
"""

from __future__ import annotations

import fcntl
import os
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty
from typing import Any, ClassVar, Final

import structlog
from kombu.exceptions import ChannelError
from kombu.transport import filesystem, virtual
from kombu.transport.filesystem import exchange_queue_t
from kombu.utils.json import dumps, loads

log = structlog.get_logger("gantry.queue")

TAKEN: Final = "tmp"
"""The folder beside those of the queue for a message between its removal from the queue and its delivery."""
DAMAGED: Final = "damaged"
"""The folder beside those of the queue for files that could not be read."""

_MOST_DAMAGED: Final = 100


class AtomicChannel(filesystem.Channel):
    """A channel whose messages and exchange tables are read whole or not at all."""

    # By the path of an exchange's table: what this process has bound. It outlives a table that was damaged.
    _bound: ClassVar[defaultdict[str, set[exchange_queue_t]]] = defaultdict(set)

    def _put(self, queue: str, message: Any, **kwargs: Any) -> None:  # type: ignore[override]  # kombu names it twice
        """Write `message`. Raises `ChannelError`."""
        _write(Path(self.data_folder_out) / f"{time.time_ns()}_{uuid.uuid4()}.{queue}.msg", message)

    def _get(self, queue: str, timeout: float | None = None) -> Any:
        """Return the next message of `queue`. Raises `Empty` and `ChannelError`. A damaged message is set aside."""
        folder = Path(self.data_folder_in)
        for name in sorted(path.name for path in folder.iterdir()):
            if name.partition(".")[2] != f"{queue}.msg":
                continue
            taken = folder.parent / TAKEN / name
            try:
                taken.parent.mkdir(mode=0o700, exist_ok=True)
                (folder / name).replace(taken)
            except FileNotFoundError:  # another worker took it
                continue
            except OSError as error:
                raise ChannelError(f"Cannot take {name!r} from {os.fspath(folder)!r}: {error.strerror}") from error
            if (message := _read(taken, self._whole_message)) is not None:
                taken.unlink(missing_ok=True)
                return message
        raise Empty

    def _whole_message(self, message: Any) -> Any:
        """Return `message`. Raises `ValueError`, `TypeError`, `KeyError` or `AttributeError` if a part is missing."""
        properties = message["properties"]
        _ = properties["delivery_tag"], properties["delivery_info"]["routing_key"]
        self.decode_body(message["body"], properties.get("body_encoding"))  # type: ignore[no-untyped-call]
        return message

    def get_table(self, exchange: str) -> list[Any]:
        """Return the queues bound to `exchange`. In place of a damaged table: those that this process has bound."""
        file = self._exchange_file(exchange)  # type: ignore[no-untyped-call]
        table = _read(file, lambda rows: [exchange_queue_t(*row) for row in rows]) or []
        return [*table, *(binding for binding in self._bound[str(file)] if binding not in table)]

    def _queue_bind(self, exchange: str, routing_key: str, pattern: str, queue: str) -> None:
        """Add a queue to the table of `exchange`. Raises `ChannelError`."""
        file = self._exchange_file(exchange)  # type: ignore[no-untyped-call]
        with _locked(file):
            self._bound[str(file)].add(exchange_queue_t(routing_key or "", pattern or "", queue or ""))
            _write(file, self.get_table(exchange))

    def _delete(self, queue: str, exchange: str, routing_key: str, pattern: str, *args: Any, **kwargs: Any) -> None:
        """Delete the messages of `queue`, and its row in the table of `exchange`. Raises `ChannelError`."""
        virtual.Channel._delete(self, queue)  # type: ignore[no-untyped-call]
        file = self._exchange_file(exchange)  # type: ignore[no-untyped-call]
        gone = exchange_queue_t(routing_key or "", pattern or "", queue or "")
        with _locked(file):
            self._bound[str(file)].discard(gone)
            _write(file, [row for row in self.get_table(exchange) if row != gone])


class Transport(filesystem.Transport):
    """kombu's filesystem transport with `AtomicChannel`."""

    Channel = AtomicChannel


def damaged(queue_folder: Path) -> list[Path]:
    """Return the files of the queue that were set aside, oldest first."""
    with suppress(FileNotFoundError):
        return sorted((queue_folder / DAMAGED).iterdir())
    return []


def _read(file: Path, whole: Callable[[Any], Any]) -> Any:
    """Return what `whole` makes of the file's content; None if there is no file, or it is damaged and set aside."""
    try:
        return whole(loads(file.read_bytes().decode()))  # type: ignore[no-untyped-call]
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ChannelError(f"Cannot read {os.fspath(file)!r}: {error.strerror}") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        _set_aside(file, f"{type(error).__name__}: {error}")
        return None


def _write(file: Path, content: Any) -> None:
    """Write `file` under a temporary name, then rename it. Raises `ChannelError`."""
    # `_get` takes only names of the form NAME.QUEUE.msg.
    unfinished = file.with_name(f"{time.time_ns()}_{uuid.uuid4()}.unfinished")
    try:
        file.parent.mkdir(mode=0o700, exist_ok=True)
        unfinished.write_text(dumps(content), encoding="utf-8")  # type: ignore[no-untyped-call]
        unfinished.replace(file)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise ChannelError(f"Cannot write to {os.fspath(file.parent)!r}: {error.strerror}") from error


def _set_aside(file: Path, reason: str) -> None:
    """Move a damaged file to the folder of such files, which keeps the newest."""
    folder = file.parent.parent / DAMAGED
    kept = folder / f"{time.time_ns()}_{file.name}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        file.replace(kept)
        for old in damaged(folder.parent)[:-_MOST_DAMAGED]:
            old.unlink(missing_ok=True)
    except OSError:
        file.unlink(missing_ok=True)
    log.warning("a file of the queue is damaged; it was set aside", file=str(kept), reason=reason)


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Let only one process change `file` at a time. Raises `ChannelError`."""
    try:
        file.parent.mkdir(mode=0o700, exist_ok=True)
        with file.with_suffix(".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise ChannelError(f"Cannot lock {os.fspath(file)!r}: {error.strerror}") from error
