"""`gantry demo`: run the default job on this machine, from submission to pictures, through the public HTTP API."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from gantry.client import ApiError, Client, UnreachableError
from gantry.local import process
from gantry.local.data_folder import LOCK_FILE, locked
from gantry.local.environment import service_environment
from gantry.local.errors import DemoError, UpError
from gantry.local.ports import free_port
from gantry.local.settings import PREFIX
from gantry.terminal.progress import follow

JOB: Final[dict[str, Any]] = {"name": "clothes by class", "dataset": "fashion-mnist-mini", "preset": "cgan"}

_STARTING_SECONDS: Final = 120
_STOPPING_SECONDS: Final = 60
_IMAGES_PER_CLASS: Final = 10


def run(out: Path) -> int:
    """Write samples.png and loss.png into `out`. Return 0, or 1 if the job failed. Raises `DemoError`."""
    console, began = Console(), time.monotonic()
    data = fresh_folder(out / "gantry-data")
    port, log = free_port(), out / "service.log"
    with _service(port, data, log) as service, Client(f"http://127.0.0.1:{port}") as client:
        console.print("Starting the service on this machine ...", highlight=False)
        _wait_until_ready(client, service, log)
        job_id = client.submit(JOB)["id"]
        console.print(f"Submitted {job_id}: preset {JOB['preset']} on {JOB['dataset']}.", highlight=False)
        job = follow(client, job_id, console)
        if job["status"] != "succeeded":
            return 1
        (out / "samples.png").write_bytes(client.samples(job_id, n=_IMAGES_PER_CLASS))
        (out / "loss.png").write_bytes(client.curves(job_id))
    _print_next_steps(console, out, data, job_id, time.monotonic() - began)
    return 0


def fresh_folder(data: Path) -> Path:
    """Return the empty folder `data`. The data of an earlier demo is deleted. Raises `DemoError`."""
    try:
        if data.exists() and any(data.iterdir()):
            _delete_earlier_demo(data)
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise DemoError(f"{data} cannot be made: {error.strerror}.") from error
    return data


def _delete_earlier_demo(data: Path) -> None:
    """Delete the data of an earlier demo. Raises `DemoError` if no demo made it, or if a service runs on it."""
    if not (data / LOCK_FILE).exists():
        raise DemoError(f"{data} exists and no earlier demo made it; choose another --out.")
    try:
        with locked(data):
            shutil.rmtree(data)
    except UpError as error:
        raise DemoError(str(error)) from error


@contextmanager
def _service(port: int, data: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run `gantry up` with the default settings, and yield its process."""
    argv = [sys.executable, "-m", "gantry", "up", "--port", str(port), "--data", str(data)]
    # Without the variables of another deployment for which this shell may be set up.
    env = {name: value for name, value in service_environment().items() if not name.startswith(PREFIX)}
    with log.open("wb") as file:
        service = process.start(argv, env, file)
    try:
        yield service
    finally:
        process.stop([(service, _STOPPING_SECONDS)])


def _wait_until_ready(client: Client, service: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _STARTING_SECONDS
    while time.monotonic() < deadline:
        if service.poll() is not None:
            raise DemoError(f"The service did not start. {log.read_text(errors='replace').strip()}")
        try:
            client.ready()
        except (UnreachableError, ApiError):
            time.sleep(0.2)
        else:
            return
    raise DemoError(f"The service is not ready after {_STARTING_SECONDS} s; see {log}.")


def _gantry_command() -> str:
    """Return how to run `gantry` in this shell: by name if it is on the PATH, else by its path."""
    if shutil.which("gantry"):
        return "gantry"
    path = Path(sys.executable).parent / "gantry"
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _print_next_steps(console: Console, out: Path, data: Path, job_id: str, seconds: float) -> None:
    job_url = f"http://127.0.0.1:8000/v1/jobs/{job_id}"
    lines = [
        f"Done in {seconds:.0f} s. Look at:",
        f"  {out / 'samples.png'}   ten images of each class, one row for each class",
        f"  {out / 'loss.png'}      both losses",
        "Next, draw more from the same generator:",
        f"  {_gantry_command()} up --data {data}",
        f"  curl '{job_url}/samples?label=Sneaker&n=16' -o sneakers.png",
        f"  curl '{job_url}/samples?label=Bag&label=Coat&n=8&seed=7' -o bags-and-coats.png",
        f"  curl '{job_url}/previews.gif' -o learning.gif",
        f"  curl {job_url}",
    ]
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
