"""Trainer processes, seen from the supervisor: forked from a fork server that has already imported torch."""

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
from worker.sandbox import settings_for_pipe

# setproctitle must not use the space of the environment, which follows the command in memory.
_TITLE_OPTIONS: Final = {"SPT_NOENV": "1"}
# A fork server that runs reports the end of its trainer within these seconds.
_REPORT_SECONDS: Final = 4.0


class ForkServer:
    """The process that forks trainers. It is started early, so that it has imported torch when a job comes."""

    def __init__(self, worker_id: str, environment: Mapping[str, str]) -> None:
        self._worker_id, self._environment = worker_id, {**environment, **_TITLE_OPTIONS}
        self._process: subprocess.Popen[bytes] | None = None

    def warm_up(self) -> None:
        """Start the process unless it runs. It ends with the calling thread."""
        if self._process is not None and self._process.poll() is None:
            return
        argv = [sys.executable, "-m", "worker.fork_server", self._worker_id]
        self._process = spawn(argv, env=self._environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def start(self, settings: Settings, tenant: str, job_id: str, attempt: int, log_path: Path) -> TrainerProcess:
        """Start a trainer for this attempt; it runs as soon as the fork server has imported torch."""
        self.warm_up()
        assert self._process is not None
        attempt_of = {"job_id": job_id, "attempt": attempt, "tenant": tenant}
        request = {**attempt_of, "log": str(log_path), "settings": settings_for_pipe(settings)}
        return TrainerProcess(self._process, request)

    def close(self) -> None:
        """Kill the fork server and its trainer."""
        if self._process is not None and self._process.poll() is None:
            kill(self._process)
            self._process.wait()


class TrainerProcess:
    """One trainer, with the interface of `subprocess.Popen`. Methods may be called from several threads."""

    def __init__(self, fork_server: subprocess.Popen[bytes], request: Mapping[str, object]) -> None:
        self._fork_server = fork_server
        self._lock = threading.Lock()
        self._received = b""
        self._pending_signals: list[signal.Signals] = []
        self._killed_at: float | None = None
        self.pid: int | None = None
        """The process id; None until the fork server has forked the trainer."""
        self.returncode: int | None = None
        """The exit code, negative for a signal; None while the trainer runs."""
        with suppress(BrokenPipeError):  # the fork server has ended, which `poll` will notice
            self._send_line(json.dumps(request).encode())

    def poll(self) -> int | None:
        """Return the exit code; None while the trainer runs."""
        with self._lock:
            self._receive()
            return self.returncode

    def wait(self, timeout: float) -> int:
        """Return the exit code once the trainer has ended. Raises `subprocess.TimeoutExpired` after `timeout` s."""
        deadline = time.monotonic() + timeout
        while (code := self.poll()) is None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise subprocess.TimeoutExpired("worker.trainer", timeout)
            select.select([self._output], [], [], left)
        return code

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the trainer, as soon as it exists."""
        with self._lock:
            self._receive()
            if self.pid is None:
                self._pending_signals.append(number)
            elif self.returncode is None:
                _signal(os.kill, self.pid, number)

    def kill(self) -> None:
        """Kill the trainer's session at once; kill the fork server if it has not forked the trainer yet."""
        with self._lock:
            self._receive()
            if self.returncode is not None:
                return
            self._killed_at = self._killed_at or time.monotonic()
            if self.pid is None or time.monotonic() > self._killed_at + _REPORT_SECONDS:
                # The trainer does not exist yet, or the fork server is stopped and does not report its end.
                kill(self._fork_server)
            else:
                # The fork server reaps the trainer only after our confirmation: the pid is not reused before.
                _signal(os.killpg, self.pid, signal.SIGKILL)

    def end(self) -> int:
        """Kill the trainer if it runs, and wait for its end. Returns the exit code."""
        while (code := self.poll()) is None:
            self.kill()
            select.select([self._output], [], [], _REPORT_SECONDS / 4)
        return code

    @property
    def _output(self) -> int:
        assert self._fork_server.stdout is not None
        return self._fork_server.stdout.fileno()

    def _receive(self) -> None:
        """Read what the fork server has reported since the last call."""
        while self.returncode is None and select.select([self._output], [], [], 0)[0]:
            data = os.read(self._output, 64)
            if not data:
                # The fork server has ended, and the kernel has killed its trainer with it.
                self._fork_server.wait()
                self.returncode = -signal.SIGKILL
                return
            self._received += data
            *lines, self._received = self._received.split(b"\n")
            for line in lines:
                self._handle(int(line))
        if self.pid is not None and self.returncode is None:
            for number in self._pending_signals:
                _signal(os.kill, self.pid, number)
            self._pending_signals.clear()

    def _handle(self, number: int) -> None:
        if self.pid is None:
            self.pid = number
        else:
            self.returncode = number
            with suppress(BrokenPipeError):
                self._send_line(b"")

    def _send_line(self, line: bytes) -> None:
        assert self._fork_server.stdin is not None
        self._fork_server.stdin.write(line + b"\n")
        self._fork_server.stdin.flush()


def _signal(send: Callable[[int, int], None], pid: int, number: signal.Signals) -> None:
    """Send a signal, unless the process has just ended: a fork server that dies takes its trainer with it."""
    with suppress(ProcessLookupError):
        send(pid, number)
