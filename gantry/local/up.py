"""`gantry up`: start every process of the service on one machine, restart those that end, and stop them cleanly."""

from __future__ import annotations

import fcntl
import json
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

from gantry.connection import DEFAULT_URL
from gantry.local import process
from gantry.local.environment import service_environment
from gantry.local.errors import LocalCommandError, UpError
from gantry.local.ports import free_port, listen, port_of
from gantry.local.settings import PREFIX, LocalSettings
from gantry.local.settings import run as run_command

# sun_path holds 108 bytes with its closing zero on Linux, 104 elsewhere.
_LONGEST_SOCKET_PATH: Final = 103
_STARTING_SECONDS: Final = 120
_QUICK_SECONDS: Final = 10
_LONGEST_PAUSE_SECONDS: Final = 30
_STEADY_SECONDS: Final = 60


LOCK: Final = "up.lock"
"""In the data folder, held while `gantry up` runs there; it holds the address of the sampler."""


@dataclass
class ServiceProcess:
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
class ServiceProcesses:
    """The children, in order of starting."""

    settings: LocalSettings
    children: list[ServiceProcess]
    sockets: Mapping[str, socket.socket] = field(default_factory=dict)
    """What some listen on, by name: opened once, so that a restart and a neighbour cannot lose the port."""
    stop: threading.Event = field(default_factory=threading.Event)

    def start(self, child: ServiceProcess) -> None:
        """Start it, its log appended to a file of its own."""
        argv, fds = list(child.argv), []
        if child.name in self.sockets:
            fds = [self.sockets[child.name].fileno()]
            argv += ["--fd", str(fds[0])]
        with self._log(child).open("ab") as log:
            child.process = process.start(argv, {**self.settings.environment, **child.env}, log, fds)
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

    def ended(self) -> ServiceProcess | None:
        """One that is no more, if any."""
        return next((c for c in self.children if c.process is not None and c.process.poll() is not None), None)

    def last_words(self, child: ServiceProcess) -> str:
        """The end of its log."""
        with self._log(child).open(errors="replace") as log:
            return "".join(deque(log, maxlen=5)).strip()

    def end(self) -> None:
        """Stop all: workers first, so that what trains is saved and given back while the API still tells of it."""
        for workers in (True, False):
            asked = (child for child in self.children if child.drains is workers)
            process.stop((child.process, child.grace) for child in asked if child.process is not None)

    def kill(self) -> None:
        """End all at once; does not wait, as a signal's handler must not."""
        for child in self.children:
            if child.process is not None:
                process.kill(child.process)

    def _log(self, child: ServiceProcess) -> Path:
        return self.settings.data_dir.absolute() / "logs" / f"{child.name}.log"


def run(settings: LocalSettings) -> int:
    """Run the service until SIGINT or SIGTERM. Returns the exit code. Raises `UpError`."""
    # Every file and folder that the service makes belongs to its user alone.
    os.umask(0o077)
    settings = _with_sampler(settings)
    _make_folder(settings.data_dir)
    _make_folder(settings.data_dir / "logs")
    with alone(settings.data_dir / LOCK, settings.data_dir) as lock, ExitStack() as open_sockets:
        _write_sampler_address(lock, settings)
        sockets = {
            "api": open_sockets.enter_context(_api_socket(settings)),
            "ui": open_sockets.enter_context(dashboard_socket(settings)),
        }
        settings = settings.with_values(url=settings.api_url, ui_port=port_of(sockets["ui"]))
        _prepare(settings)
        fleet = ServiceProcesses(settings, children(settings, _gpu_slots()), sockets)
        with _signals(fleet):
            try:
                return _serve(fleet)
            finally:
                fleet.end()
                fleet.kill()


def _prepare(settings: LocalSettings) -> None:
    """Migrate the database, and print an administrator's key once in the life of a database that needs keys."""
    try:
        prepared = json.loads(run_command("prepare", settings.environment))
    except LocalCommandError as error:
        raise UpError(str(error)) from error
    if (key := prepared["first_key"]) is not None:
        say("This service asks for keys. An administrator's, shown this once (`gantry keys` makes others):")
        say(f"  export GANTRY_KEY={key}")


def say(line: str) -> None:
    """To the terminal, at once."""
    print(line, flush=True)


def _serve(fleet: ServiceProcesses) -> int:
    for child in fleet.children:
        fleet.start(child)
    _wait_until_ready(fleet)
    if not fleet.stop.is_set():
        _welcome(fleet.settings)
    while not fleet.stop.wait(0.3):
        fleet.tend()
    say("Stopping: a job that trains saves a checkpoint first and goes on at the next start. Ctrl-C again: at once.")
    return 0


def children(settings: LocalSettings, gpu_slots: Sequence[str]) -> list[ServiceProcess]:
    """Every process of the service: one worker a GPU, each of which sees its own alone; without one, one worker."""
    python = sys.executable
    # Longer than its own grace for the trainer, so that the worker and not we decide.
    patience = settings.grace_seconds + _QUICK_SECONDS
    seen = [{"CUDA_VISIBLE_DEVICES": slot} for slot in gpu_slots] or [{}]
    names = ["worker"] if len(seen) == 1 else [f"worker-{i}" for i in range(len(seen))]
    return [
        ServiceProcess("api", [python, "-m", "api"], _QUICK_SECONDS),
        ServiceProcess("relay", [python, "-m", "jobs.relay"], _QUICK_SECONDS),
        ServiceProcess("sampler", [python, "-m", "worker.sampler"], _QUICK_SECONDS),
        ServiceProcess("ui", [python, "-m", "api.ui"], _QUICK_SECONDS),
        *(
            ServiceProcess(name, [python, "-m", "worker"], patience, env, drains=True)
            for name, env in zip(names, seen, strict=True)
        ),
    ]


def _gpu_slots() -> list[str]:
    """Return the GPUs of this machine, one name each, as a process of the worker sees them."""
    argv = [sys.executable, "-m", "worker.devices"]
    done = subprocess.run(argv, env=service_environment(), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise UpError(f"The GPUs of this machine cannot be listed. {done.stderr.strip()}")
    return done.stdout.split()


def _with_sampler(settings: LocalSettings) -> LocalSettings:
    """The sampler beside the data, for those alone who may enter that folder, unless its address was given."""
    if settings.given("sampler_url"):
        return settings
    path = settings.data_dir.absolute() / "sampler.sock"
    if len(os.fsencode(path)) <= _LONGEST_SOCKET_PATH:
        return settings.with_values(sampler_url=f"unix:{path}")
    return settings.with_values(sampler_url=f"http://127.0.0.1:{free_port()}")


def _api_socket(settings: LocalSettings) -> socket.socket:
    try:
        return listen(settings.host, settings.port)
    except OSError as error:
        where = f"{settings.host}:{settings.port}"
        raise UpError(f"Cannot listen on {where}: {error.strerror}. Take another --port, or free it.") from error


def dashboard_socket(settings: LocalSettings) -> socket.socket:
    """The dashboard's, on any free port where its own is taken and was not asked for. Raises `UpError`."""
    try:
        return listen(settings.host, settings.ui_port)
    except OSError as error:
        if not settings.given("ui_port"):
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


def _write_sampler_address(lock: IO[str], settings: LocalSettings) -> None:
    """Where the sampler listens is chosen here; `gantry doctor` reads it."""
    lock.truncate(0)
    lock.write(settings.sampler_url)
    lock.flush()


@contextmanager
def _signals(fleet: ServiceProcesses) -> Iterator[None]:
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


def _wait_until_ready(fleet: ServiceProcesses) -> None:
    settings, deadline = fleet.settings, time.monotonic() + _STARTING_SECONDS
    with (
        httpx2.Client(base_url=settings.api_url, trust_env=False, timeout=10) as api,
        sampler_client(settings.sampler_url, timeout=10) as sampler,
        httpx2.Client(base_url=settings.url_of(settings.ui_port), trust_env=False, timeout=10) as ui,
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
    path = url.removeprefix("unix:")
    base_url, transport = (url, None) if path == url else ("http://sampler", httpx2.HTTPTransport(uds=path))
    return httpx2.Client(base_url=base_url, transport=transport, trust_env=False, timeout=timeout)


def _answers(client: httpx2.Client, path: str) -> bool:
    try:
        return client.get(path).is_success
    except httpx2.TransportError:
        return False


def _welcome(settings: LocalSettings) -> None:
    url = settings.api_url
    say(f"Gantry is at {url} (try {url}/docs); its data is in {settings.data_dir.absolute()}.")
    say(f"The dashboard is at {url}/ui.")
    say("Next, in another terminal:")
    if url != DEFAULT_URL:
        say(f"  export GANTRY_URL={url}")
    say("  gantry submit --dataset fashion-mnist-mini --watch")
    say("  gantry samples JOB --label Sneaker -n 16 -o sneakers.png")
    say("  gantry curves JOB -o loss.png")
    say("Ctrl-C stops it.")


def _code(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
