"""How a supervisor gets a trainer: from a nursery that this process keeps, which has imported torch beforehand."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from jobs.runtime.process import kill, spawn
from jobs.runtime.settings import Settings
from worker.sandbox import told

# A trainer's title has to fit in the place of the nursery's command: behind it stands the environment.
_OF_NURSERY: Final = {"SPT_NOENV": "1"}
# Seconds in which a nursery that lives has told that its trainer is dead.
_PATIENCE: Final = 4.0


class ForkServer:
    """The process that trainers are forked from; started at once, so that it is warm when a job comes."""

    def __init__(self, worker_id: str, environment: Mapping[str, str]) -> None:
        self._worker_id, self._environment = worker_id, {**environment, **_OF_NURSERY}
        self._process: subprocess.Popen[bytes] | None = None

    def warm_up(self) -> None:
        """Start it, unless it runs. From the thread that is to live as long as it."""
        if self._process is not None and self._process.poll() is None:
            return
        argv = [sys.executable, "-m", "worker.fork_server", self._worker_id]
        self._process = spawn(argv, env=self._environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def start(self, settings: Settings, tenant: str, job_id: str, attempt: int, log_path: Path) -> TrainerProcess:
        """A trainer for this attempt; it runs as soon as the nursery is warm."""
        self.warm_up()
        assert self._process is not None
        whose = {"job_id": job_id, "attempt": attempt, "tenant": tenant}
        request = {**whose, "log": str(log_path), "settings": told(settings)}
        return TrainerProcess(self._process, request)

    def close(self) -> None:
        """End it, and the trainer that it has."""
        if self._process is not None and self._process.poll() is None:
            kill(self._process)
            self._process.wait()


class TrainerProcess:
    """One trainer, as `subprocess.Popen` would have it: several threads may ask."""

    def __init__(self, fork_server: subprocess.Popen[bytes], request: Mapping[str, object]) -> None:
        self._fork_server = fork_server
        self._lock = threading.Lock()
        self._heard = b""
        self._asked: list[signal.Signals] = []
        self._killed_at: float | None = None
        self.pid: int | None = None
        """None until the nursery is warm."""
        self.returncode: int | None = None
        """Negative for a signal; None while it runs."""
        with suppress(BrokenPipeError):  # it is gone, which `poll` will see
            self._tell(json.dumps(request).encode())

    def poll(self) -> int | None:
        """Its exit code; None while it runs."""
        with self._lock:
            self._listen()
            return self.returncode

    def wait(self, timeout: float) -> int:
        """Its exit code, once it has ended. Raises `subprocess.TimeoutExpired`."""
        deadline = time.monotonic() + timeout
        while (code := self.poll()) is None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise subprocess.TimeoutExpired("worker.trainer", timeout)
            select.select([self._answers], [], [], left)
        return code

    def send_signal(self, number: signal.Signals) -> None:
        """To the trainer; once it is there."""
        with self._lock:
            self._listen()
            if self.pid is None:
                self._asked.append(number)
            elif self.returncode is None:
                _send(os.kill, self.pid, number)

    def kill(self) -> None:
        """End it and what it has started, at once; with the nursery, where that has not forked it yet."""
        with self._lock:
            self._listen()
            if self.returncode is not None:
                return
            self._killed_at = self._killed_at or time.monotonic()
            if self.pid is None or time.monotonic() > self._killed_at + _PATIENCE:
                # Not born yet; or dead, and the nursery, which stands still, does not tell.
                kill(self._fork_server)
            else:
                # Not reaped before we have said that we know: the pid is its own for as long as the nursery lives.
                _send(os.killpg, self.pid, signal.SIGKILL)

    def end(self) -> int:
        """End it, if it has not, and wait until that is so."""
        while (code := self.poll()) is None:
            self.kill()
            select.select([self._answers], [], [], _PATIENCE / 4)
        return code

    @property
    def _answers(self) -> int:
        assert self._fork_server.stdout is not None
        return self._fork_server.stdout.fileno()

    def _listen(self) -> None:
        """Take in what the nursery has said since."""
        while self.returncode is None and select.select([self._answers], [], [], 0)[0]:
            said = os.read(self._answers, 64)
            if not said:
                # The nursery is gone, and the kernel has ended its trainer with it.
                self._fork_server.wait()
                self.returncode = -signal.SIGKILL
                return
            self._heard += said
            *lines, self._heard = self._heard.split(b"\n")
            for line in lines:
                self._hear(int(line))
        if self.pid is not None and self.returncode is None:
            for asked in self._asked:
                _send(os.kill, self.pid, asked)
            self._asked.clear()

    def _hear(self, number: int) -> None:
        if self.pid is None:
            self.pid = number
        else:
            self.returncode = number
            with suppress(BrokenPipeError):
                self._tell(b"")

    def _tell(self, line: bytes) -> None:
        assert self._fork_server.stdin is not None
        self._fork_server.stdin.write(line + b"\n")
        self._fork_server.stdin.flush()


def _send(how: Callable[[int, int], None], pid: int, number: signal.Signals) -> None:
    """A signal, unless there is nobody any more: the nursery may have died, and its trainer with it, just now."""
    with suppress(ProcessLookupError):
        how(pid, number)
