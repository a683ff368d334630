"""`gantry up`: every process of the service on one machine, started, kept alive, and stopped without a rest."""

from __future__ import annotations

import fcntl
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import IO, Final

import httpx2

from api.first_key import first_key
from api.listening import free_port, listen, port_of
from jobs import process
from jobs.db import migrate
from jobs.errors import DatabaseUnavailable
from jobs.settings import PREFIX, Settings, sampler_address
from jobs.startup import keep_private

# sun_path holds 108 bytes with its closing zero on Linux, 104 elsewhere.
_LONGEST_SOCKET_PATH: Final = 103
_STARTING_SECONDS: Final = 120
_QUICK_SECONDS: Final = 10
_LONGEST_PAUSE_SECONDS: Final = 30
_STEADY_SECONDS: Final = 60


LOCK: Final = "up.lock"
"""In the data folder, held while `gantry up` runs there; it holds the address of the sampler."""


class UpError(Exception):
    """Why the service cannot start, in a sentence."""


@dataclass
class Child:
    """One process of the service, and how long it is given to stop."""

    name: str
    argv: Sequence[str]
    grace: float
    env: Mapping[str, str] = field(default_factory=dict)
    drains: bool = False
    """That an end with 0 is what somebody has asked for."""
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    restarts: int = 0
    due: float = 0.0


@dataclass
class Fleet:
    """The children, in order of starting."""

    settings: Settings
    children: list[Child]
    sockets: Mapping[str, socket.socket] = field(default_factory=dict)
    """What some listen on, by name: opened once, so that a restart and a neighbour cannot lose the port."""
    stop: threading.Event = field(default_factory=threading.Event)

    def start(self, child: Child) -> None:
        """Start it, its log appended to a file of its own."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        argv, fds = list(child.argv), []
        if child.name in self.sockets:
            fds = [self.sockets[child.name].fileno()]
            argv += ["--fd", str(fds[0])]
        with self._log(child).open("ab") as log:
            child.process = process.spawn(
                argv,
                env={**kept, **child.env, **self.settings.environment()},
                stdout=log,
                stderr=log,
                pass_fds=fds,
            )
        child.started = time.monotonic()

    def tend(self) -> None:
        """Start again what has ended; after each quick death a longer pause."""
        for child in self.children:
            if child.process is None:
                if time.monotonic() >= child.due:
                    self.start(child)
            elif (code := child.process.poll()) == 0 and child.drains:
                child.process, child.due = None, math.inf
                say(f"The {child.name} was drained: it has given its job back and stays away until the next start.")
            elif code is not None:
                steady = time.monotonic() - child.started > _STEADY_SECONDS
                child.restarts = 0 if steady else child.restarts + 1
                pause = min(_LONGEST_PAUSE_SECONDS, 2.0**child.restarts / 2)
                child.process, child.due, log = None, time.monotonic() + pause, self._log(child)
                say(f"The {child.name} ended ({_code(code)}); starting it again in {pause:g} s. Log: {log}")

    def ended(self) -> Child | None:
        """One that is no more, if any."""
        return next((c for c in self.children if c.process is not None and c.process.poll() is not None), None)

    def last_words(self, child: Child) -> str:
        """The end of its log."""
        with self._log(child).open(errors="replace") as log:
            return "".join(deque(log, maxlen=5)).strip()

    def end(self) -> None:
        """Stop all: workers first, so that what trains is saved and given back while the API still tells of it."""
        for workers in (True, False):
            asked = (child for child in self.children if child.drains is workers)
            process.end_all((child.process, child.grace) for child in asked if child.process is not None)

    def kill(self) -> None:
        """End all at once; does not wait, as a signal's handler must not."""
        for child in self.children:
            if child.process is not None:
                process.kill(child.process)

    def _log(self, child: Child) -> Path:
        return self.settings.data_dir.absolute() / "logs" / f"{child.name}.log"


def run(settings: Settings) -> int:
    """Run the service until SIGINT or SIGTERM; the exit code. Raises `UpError`."""
    keep_private()
    settings = _with_sampler(settings)
    # A folder of our own making is ours alone: whoever can enter it reaches the sampler and every job.
    _make_folder(settings.data_dir)
    _make_folder(settings.data_dir / "logs")
    with alone(settings.data_dir / LOCK, settings.data_dir) as lock, ExitStack() as open_sockets:
        _leave_word(lock, settings)
        sockets = {
            "api": open_sockets.enter_context(_api_socket(settings)),
            "ui": open_sockets.enter_context(dashboard_socket(settings)),
        }
        settings = settings.model_copy(update={"url": local_url(settings), "ui_port": port_of(sockets["ui"])})
        try:
            migrate(settings)
        except DatabaseUnavailable as error:
            raise UpError(str(error)) from error
        if settings.asks_for_keys:
            _tell_first_key(settings)
        fleet = Fleet(settings, children(settings, _gpu_slots()), sockets)
        with _signals(fleet):
            try:
                return _serve(fleet)
            finally:
                fleet.end()
                fleet.kill()


def _tell_first_key(settings: Settings) -> None:
    """To the terminal alone, once in the life of a database."""
    if (key := first_key(settings)) is not None:
        say("This service asks for keys. An administrator's, shown this once (`gantry keys` makes others):")
        say(f"  export GANTRY_KEY={key}")


def say(line: str) -> None:
    """To the terminal, at once."""
    print(line, flush=True)


def _serve(fleet: Fleet) -> int:
    for child in fleet.children:
        fleet.start(child)
    _wait_until_ready(fleet)
    if not fleet.stop.is_set():
        _welcome(fleet.settings)
    while not fleet.stop.wait(0.3):
        fleet.tend()
    say("Stopping: a job that trains saves a checkpoint first and goes on at the next start. Ctrl-C again: at once.")
    return 0


def children(settings: Settings, gpu_slots: Sequence[str]) -> list[Child]:
    """Every process of the service: one worker a GPU, each of which sees its own alone; without one, one worker."""
    python = sys.executable
    # Longer than its own grace for the trainer, so that the worker and not we decide.
    patience = settings.grace_seconds + _QUICK_SECONDS
    seen = [{"CUDA_VISIBLE_DEVICES": slot} for slot in gpu_slots] or [{}]
    names = ["worker"] if len(seen) == 1 else [f"worker-{i}" for i in range(len(seen))]
    return [
        Child("api", [python, "-m", "api"], _QUICK_SECONDS),
        Child("relay", [python, "-m", "api.relay"], _QUICK_SECONDS),
        Child("sampler", [python, "-m", "worker.sampler"], _QUICK_SECONDS),
        Child("ui", [python, "-m", "api.ui"], _QUICK_SECONDS),
        *(
            Child(name, [python, "-m", "worker"], patience, env, drains=True)
            for name, env in zip(names, seen, strict=True)
        ),
    ]


def _gpu_slots() -> list[str]:
    """Asked of a process of the worker's room, which this one may not import."""
    done = subprocess.run([sys.executable, "-m", "worker.devices"], capture_output=True, text=True, check=True)
    return done.stdout.split()


def _with_sampler(settings: Settings) -> Settings:
    """The sampler beside the data, for those alone who may enter that folder, unless its address was given."""
    if "sampler_url" in settings.model_fields_set:
        return settings
    path = settings.data_dir.absolute() / "sampler.sock"
    if len(os.fsencode(path)) <= _LONGEST_SOCKET_PATH:
        return settings.model_copy(update={"sampler_url": f"unix:{path}"})
    return settings.model_copy(update={"sampler_url": f"http://127.0.0.1:{free_port()}"})


def _api_socket(settings: Settings) -> socket.socket:
    try:
        return listen(settings.host, settings.port)
    except OSError as error:
        where = f"{settings.host}:{settings.port}"
        raise UpError(f"Cannot listen on {where}: {error.strerror}. Take another --port, or free it.") from error


def dashboard_socket(settings: Settings) -> socket.socket:
    """The dashboard's, on any free port where its own is taken and was not asked for. Raises `UpError`."""
    try:
        return listen(settings.host, settings.ui_port)
    except OSError as error:
        if "ui_port" not in settings.model_fields_set:
            return listen(settings.host, 0)
        where = f"{settings.host}:{settings.ui_port}"
        raise UpError(f"The dashboard cannot listen on {where}: {error.strerror}. Change {PREFIX}UI_PORT.") from error


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise UpError(f"The data folder cannot be made: {error.strerror}: {error.filename}.") from error


@contextmanager
def alone(path: Path, data_dir: Path) -> Iterator[IO[str]]:
    """Hold the data folder for this process; the kernel lets go of it however the process ends."""
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UpError(f"Another `gantry up` runs on {data_dir}; stop it, or take another --data.") from None
        yield file


def _leave_word(lock: IO[str], settings: Settings) -> None:
    """Where the sampler listens is chosen here; `gantry doctor` reads it."""
    lock.truncate(0)
    lock.write(settings.sampler_url)
    lock.flush()


@contextmanager
def _signals(fleet: Fleet) -> Iterator[None]:
    """First signal: a clean stop. Second: at once."""

    def ask(number: int, frame: FrameType | None) -> None:
        if fleet.stop.is_set():
            fleet.kill()
            raise SystemExit(130)
        fleet.stop.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _wait_until_ready(fleet: Fleet) -> None:
    settings, deadline = fleet.settings, time.monotonic() + _STARTING_SECONDS
    with (
        httpx2.Client(base_url=local_url(settings), trust_env=False, timeout=10) as api,
        sampler_client(settings.sampler_url, timeout=10) as sampler,
        httpx2.Client(base_url=_at(settings, settings.ui_port), trust_env=False, timeout=10) as ui,
    ):
        while not (_answers(api, "/readyz") and _answers(sampler, "/healthz") and _answers(ui, "/healthz")):
            if (child := fleet.ended()) is not None:
                raise UpError(f"The {child.name} ended while starting. Its last words:\n{fleet.last_words(child)}")
            if time.monotonic() > deadline:
                raise UpError(f"Not ready after {_STARTING_SECONDS} s; the logs are in {settings.data_dir / 'logs'}.")
            if fleet.stop.wait(0.1):
                return


def sampler_client(url: str, timeout: float) -> httpx2.Client:
    """To ask the sampler at `url` how it is; no proxy of the environment lies between."""
    base_url, path = sampler_address(url)
    transport = httpx2.HTTPTransport(uds=path) if path else None
    return httpx2.Client(base_url=base_url, transport=transport, trust_env=False, timeout=timeout)


def _answers(client: httpx2.Client, path: str) -> bool:
    try:
        return client.get(path).is_success
    except httpx2.TransportError:
        return False


def local_url(settings: Settings) -> str:
    """Where this machine reaches the API."""
    return _at(settings, settings.port)


def _at(settings: Settings, port: int) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104 - asked, not bound
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _welcome(settings: Settings) -> None:
    url = local_url(settings)
    say(f"Gantry is at {url} (try {url}/docs); its data is in {settings.data_dir.absolute()}.")
    say(f"The dashboard is at {url}/ui.")
    say("Next, in another terminal:")
    if url != Settings.model_fields["url"].default:
        say(f"  export GANTRY_URL={url}")
    say("  gantry submit --dataset fashion-mnist-mini --watch")
    say("  gantry samples JOB --label Sneaker -n 16 -o sneakers.png")
    say("  gantry curves JOB -o loss.png")
    say("Ctrl-C stops it.")


def _code(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
