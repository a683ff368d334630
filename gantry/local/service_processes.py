"""The processes of `gantry up`: start them, restart those that end, and stop all."""

from __future__ import annotations

import math
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gantry.local import process
from gantry.local.errors import UpError
from gantry.local.settings import LocalSettings

_GRACE_SECONDS: Final = 10
_MAX_RESTART_PAUSE_SECONDS: Final = 30
# A process that ran for longer than this is restarted without a growing pause.
_STEADY_SECONDS: Final = 60
_LAST_LINES: Final = 5


@dataclass
class ServiceProcess:
    """One process of the service."""

    name: str
    argv: Sequence[str]
    grace: float
    """Seconds between SIGTERM and SIGKILL."""
    env: Mapping[str, str] = field(default_factory=dict)
    is_worker: bool = False
    process: subprocess.Popen[bytes] | None = None
    """None while it does not run."""
    started: float = 0.0
    restarts: int = 0
    """Restarts since it last ran steadily."""
    restart_at: float = 0.0


def processes_of(settings: LocalSettings, gpus: Sequence[str]) -> list[ServiceProcess]:
    """Return every process of the service, with one worker for each GPU of `gpus`, or one worker without a GPU."""
    python = sys.executable
    # Longer than the worker's own grace period for its trainer, so that the worker stops the trainer first.
    worker_grace = settings.grace_seconds + _GRACE_SECONDS
    environments = [{"CUDA_VISIBLE_DEVICES": gpu} for gpu in gpus] or [{}]
    names = ["worker"] if len(environments) == 1 else [f"worker-{i}" for i in range(len(environments))]
    return [
        ServiceProcess("api", [python, "-m", "api"], _GRACE_SECONDS),
        ServiceProcess("relay", [python, "-m", "jobs.relay"], _GRACE_SECONDS),
        ServiceProcess("sampler", [python, "-m", "worker.sampler"], _GRACE_SECONDS),
        ServiceProcess("ui", [python, "-m", "api.ui"], _GRACE_SECONDS),
        *(
            ServiceProcess(name, [python, "-m", "worker"], worker_grace, env, is_worker=True)
            for name, env in zip(names, environments, strict=True)
        ),
    ]


@dataclass
class ServiceProcesses:
    """All processes of the service, in the order in which they are started."""

    settings: LocalSettings
    children: list[ServiceProcess]
    sockets: Mapping[str, socket.socket] = field(default_factory=dict)
    """The sockets of servers, by name of the process. They stay open while their server restarts."""
    stop_requested: threading.Event = field(default_factory=threading.Event)

    def start_all(self) -> None:
        """Start every process."""
        for child in self.children:
            self._start(child)

    def restart_ended(self) -> None:
        """Start the processes again that have ended. The pause before it grows with each quick end."""
        for child in self.children:
            if child.process is None:
                if time.monotonic() >= child.restart_at:
                    self._start(child)
            elif (code := child.process.poll()) == 0 and child.is_worker:
                _retire(child)
            elif code is not None:
                was_steady = time.monotonic() - child.started > _STEADY_SECONDS
                child.restarts = 0 if was_steady else child.restarts + 1
                pause = min(_MAX_RESTART_PAUSE_SECONDS, 2.0**child.restarts / 2)
                child.process, child.restart_at = None, time.monotonic() + pause
                reason, log = _reason(code), self._log(child)
                say(f"The {child.name} ended ({reason}); it starts again in {pause:g} s. Its log is {log}")

    def say_drained(self) -> bool:
        """Say which workers were drained since the last call. Return whether there is one."""
        drained = [c for c in self.children if c.is_worker and c.process is not None and c.process.poll() == 0]
        for child in drained:
            _retire(child)
        return bool(drained)

    def first_failed(self) -> ServiceProcess | None:
        """Return a process that has ended, or None if there is none. A worker that was drained does not count."""
        codes = ((child, child.process.poll()) for child in self.children if child.process is not None)
        return next((child for child, code in codes if code is not None and (code or not child.is_worker)), None)

    def end_of_log(self, child: ServiceProcess) -> str:
        """Return the last lines of a process's log."""
        with self._log(child).open(errors="replace") as log:
            return "".join(deque(log, maxlen=_LAST_LINES)).strip()

    def stop_all(self) -> None:
        """Stop every process and wait for its end.

        Workers are stopped first: they save and give back their jobs while the API still serves the progress.
        """
        for is_worker in (True, False):
            chosen = (child for child in self.children if child.is_worker is is_worker)
            process.stop((child.process, child.grace) for child in chosen if child.process is not None)

    def kill_all(self) -> None:
        """Kill every process. A signal handler calls this, so it does not wait for their end."""
        for child in self.children:
            if child.process is not None:
                process.kill(child.process)

    def _start(self, child: ServiceProcess) -> None:
        argv, fds = list(child.argv), []
        if child.name in self.sockets:
            fds = [self.sockets[child.name].fileno()]
            argv += ["--fd", str(fds[0])]
        path = self._log(child)
        try:
            with path.open("ab") as log:
                child.process = process.start(argv, {**self.settings.environment, **child.env}, log, fds)
        except OSError as error:
            raise UpError(f"The {child.name} cannot start: {error.strerror}: {error.filename or path}.") from error
        child.started = time.monotonic()

    def _log(self, child: ServiceProcess) -> Path:
        return self.settings.data_dir.absolute() / "logs" / f"{child.name}.log"


def _retire(child: ServiceProcess) -> None:
    """Do not start a worker again that ended with 0: somebody asked it to, by `gantry worker drain` or a signal."""
    child.process, child.restart_at = None, math.inf
    say(f"The {child.name} was drained: it gave its job back. It starts again with the next `gantry up`.")


def say(line: str) -> None:
    """Print `line` without delay, also in a pipe. A terminal that was closed gets nothing: the service goes on."""
    with suppress(OSError):
        print(line, flush=True)


def _reason(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
