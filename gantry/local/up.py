"""`gantry up`: run every process of the service on one machine until Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Final

import httpx2

from gantry.connection import DEFAULT_URL
from gantry.local.data_folder import locked, make_folder, write_sampler_url
from gantry.local.environment import service_environment
from gantry.local.errors import LocalCommandError, UpError
from gantry.local.ports import api_socket, dashboard_socket, port_of
from gantry.local.sampler import sampler_client, with_sampler_url
from gantry.local.service_processes import ServiceProcesses, processes_of, say
from gantry.local.settings import LocalSettings, run_jobs

_STARTING_SECONDS: Final = 120


def run(settings: LocalSettings) -> int:
    """Run the service until SIGINT, SIGTERM or SIGHUP. Return the exit code. Raises `UpError`."""
    # All files and folders of the service belong to its user alone.
    os.umask(0o077)
    settings = with_sampler_url(settings)
    make_folder(settings.data_dir)
    make_folder(settings.data_dir / "logs")
    with locked(settings.data_dir) as lock, ExitStack() as open_sockets:
        write_sampler_url(lock, settings)
        sockets = {
            "api": open_sockets.enter_context(api_socket(settings)),
            "ui": open_sockets.enter_context(dashboard_socket(settings)),
        }
        settings = settings.with_values(url=settings.api_url, ui_port=port_of(sockets["ui"]))
        _prepare_database(settings)
        processes = ServiceProcesses(settings, processes_of(settings, _gpus()), sockets)
        with _stop_on_signals(processes):
            try:
                return _serve(processes)
            finally:
                processes.stop_all()
                processes.kill_all()


def _prepare_database(settings: LocalSettings) -> None:
    """Migrate the database. If the service asks for keys and has none, print an administrator's key."""
    try:
        prepared = json.loads(run_jobs("prepare", settings.environment))
    except LocalCommandError as error:
        raise UpError(str(error)) from error
    if (key := prepared["first_key"]) is not None:
        say("This service asks for keys. This administrator's key is shown only once (`gantry keys` makes others):")
        say(f"  export GANTRY_KEY={key}")


def _gpus() -> list[str]:
    """Return the GPUs of this machine: for each the value of CUDA_VISIBLE_DEVICES that selects it."""
    argv = [sys.executable, "-m", "worker.devices"]
    done = subprocess.run(argv, env=service_environment(), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise UpError(f"The GPUs of this machine cannot be listed. {done.stderr.strip()}")
    return done.stdout.split()


def _serve(processes: ServiceProcesses) -> int:
    processes.start_all()
    _wait_until_ready(processes)
    if not processes.stop_requested.is_set():
        _print_welcome(processes.settings)
    while not processes.stop_requested.wait(0.3):
        processes.restart_ended()
    say("Stopping: a job that trains saves a checkpoint and continues at the next start. Ctrl-C again stops at once.")
    return 0


@contextmanager
def _stop_on_signals(processes: ServiceProcesses) -> Iterator[None]:
    """Request a clean stop at the first signal. At a second one, kill all processes and exit with 130.

    A closed terminal sends SIGHUP, often twice, so that only one of the other signals is a second one. `nohup` has
    chosen that the service goes on without its terminal.
    """

    def handle(number: int, frame: FrameType | None) -> None:
        if processes.stop_requested.is_set() and number != signal.SIGHUP:
            processes.kill_all()
            raise SystemExit(130)
        processes.stop_requested.set()

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    previous = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _wait_until_ready(processes: ServiceProcesses) -> None:
    """Return when API, sampler and dashboard answer and a worker takes jobs, or when a stop is requested.

    Raises `UpError`.
    """
    settings, deadline = processes.settings, time.monotonic() + _STARTING_SECONDS
    with (
        httpx2.Client(base_url=settings.api_url, trust_env=False, timeout=10) as api,
        sampler_client(settings.sampler_url, timeout=10) as sampler,
        httpx2.Client(base_url=settings.url_of(settings.ui_port), trust_env=False, timeout=10) as ui,
    ):
        ready, alive = {"ready"}, {"alive"}
        parts = ((api, "/readyz", ready), (sampler, "/healthz", alive), (ui, "/healthz", alive))
        while not all(_is_ready(*part) for part in parts):
            if processes.say_drained():
                # The API answers already, and somebody asked the worker to end: the service may start without one.
                ready.add("degraded")
            if (child := processes.first_failed()) is not None:
                log = processes.end_of_log(child)
                raise UpError(f"The {child.name} ended while it started. The end of its log:\n{log}")
            if time.monotonic() > deadline:
                logs = settings.data_dir / "logs"
                raise UpError(f"The service is not ready after {_STARTING_SECONDS} s. Its logs are in {logs}.")
            if processes.stop_requested.wait(0.1):
                return


def _is_ready(client: httpx2.Client, path: str, statuses: Collection[str]) -> bool:
    """Return whether the server answers at `path` with one of these values of `status` in its body."""
    try:
        response = client.get(path)
    except httpx2.TransportError:
        return False
    return response.is_success and response.json()["status"] in statuses


def _print_welcome(settings: LocalSettings) -> None:
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
