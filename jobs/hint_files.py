"""The queue of files that the embedded default uses as its broker: kombu's transport, with atomic writes.

kombu creates a message file and fills it afterwards. A worker that lists the folder in between takes an empty file,
and Celery ends with `JSONDecodeError`. Here a message gets its name when it is complete. A damaged file, which a full
disk can leave behind, counts as a lost hint: the sweeper sends it again.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from pathlib import Path
from queue import Empty
from typing import Any

from kombu.exceptions import ChannelError
from kombu.transport import filesystem
from kombu.utils.json import dumps


class AtomicChannel(filesystem.Channel):
    """A channel whose messages and exchange tables are read whole or not at all."""

    def _put(self, queue: str, message: Any, **kwargs: Any) -> None:  # type: ignore[override]  # kombu names it twice
        """Write `message` under a temporary name, then rename it. Raises `ChannelError`."""
        folder = Path(self.data_folder_out)
        name = f"{time.time_ns()}_{uuid.uuid4()}"
        # `_get` takes only names of the form NAME.QUEUE.msg.
        unfinished = folder / f"{name}.unfinished"
        try:
            unfinished.write_text(dumps(message), encoding="utf-8")  # type: ignore[no-untyped-call]
            unfinished.replace(folder / f"{name}.{queue}.msg")
        except OSError as error:
            unfinished.unlink(missing_ok=True)
            raise ChannelError(f"Cannot add a message to {os.fspath(folder)!r}: {error.strerror}") from error

    def _get(self, queue: str, timeout: float | None = None) -> Any:
        """Return the next message of `queue`. Raises `Empty`, also after a damaged file, which is dropped."""
        try:
            return super()._get(queue)  # type: ignore[no-untyped-call]
        except json.JSONDecodeError:
            raise Empty from None

    def get_table(self, exchange: str) -> list[Any]:
        """Return the queues bound to `exchange`; none while another process writes its file for the first time."""
        try:
            return list(super().get_table(exchange))  # type: ignore[no-untyped-call]
        except json.JSONDecodeError:
            return []


class Transport(filesystem.Transport):
    """kombu's filesystem transport with `AtomicChannel`."""

    Channel = AtomicChannel
