"""`gantry demo`: the default job on this machine, from POST to pictures, over the public HTTP API alone."""

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
from gantry.local.environment import service_environment
from gantry.local.errors import DemoError, UpError
from gantry.local.ports import free_port
from gantry.local.settings import PREFIX
from gantry.local.up import LOCK, alone
from gantry.terminal import jobs

JOB: Final[dict[str, Any]] = {"name": "clothes by class", "dataset": "fashion-mnist-mini", "preset": "cgan"}

_STARTING_SECONDS: Final = 120
_STOPPING_SECONDS: Final = 60
_IMAGES_A_CLASS: Final = 10


def run(out: Path) -> int:
    """Leave samples.png and loss.png in `out`; 0, or 1 when the job failed. Raises `DemoError`."""
    console, began = Console(), time.monotonic()
    data = fresh_folder(out / "gantry-data")
    port = free_port()
    with _service(port, data, out / "service.log") as up, Client(f"http://127.0.0.1:{port}") as client:
        console.print("Starting the service on this machine ...", highlight=False)
        _wait(client, up, out / "service.log")
        job_id = client.submit(JOB)["id"]
        console.print(f"Submitted {job_id}: preset {JOB['preset']} on {JOB['dataset']}.", highlight=False)
        job = jobs.follow(client, job_id, console)
        if job["status"] != "succeeded":
            return 1
        (out / "samples.png").write_bytes(client.samples(job_id, n=_IMAGES_A_CLASS))
        (out / "loss.png").write_bytes(client.curves(job_id))
    _tell(console, out, data, job_id, time.monotonic() - began)
    return 0


def fresh_folder(data: Path) -> Path:
    """An empty folder there; what an earlier demo left in it is dropped."""
    try:
        if data.exists() and any(data.iterdir()):
            _drop(data)
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise DemoError(f"{data} cannot be made: {error.strerror}.") from error
    return data


def _drop(data: Path) -> None:
    """Remove an earlier demo's data, unless it is no demo's, or a service runs on it at this moment."""
    if not (data / LOCK).exists():
        raise DemoError(f"{data} is there and no earlier demo made it; take another --out.")
    try:
        with alone(data / LOCK, data):
            shutil.rmtree(data)
    except UpError as error:
        raise DemoError(str(error)) from error


@contextmanager
def _service(port: int, data: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    argv = [sys.executable, "-m", "gantry", "up", "--port", str(port), "--data", str(data)]
    # The demo is the embedded default, whatever deployment this shell is set up for.
    env = {name: value for name, value in service_environment().items() if not name.startswith(PREFIX)}
    with log.open("wb") as file:
        up = process.start(argv, env, file)
    try:
        yield up
    finally:
        process.stop([(up, _STOPPING_SECONDS)])


def _wait(client: Client, up: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _STARTING_SECONDS
    while time.monotonic() < deadline:
        if up.poll() is not None:
            raise DemoError(f"The service did not start. {log.read_text(errors='replace').strip()}")
        try:
            client.ready()
        except (UnreachableError, ApiError):
            time.sleep(0.2)
        else:
            return
    raise DemoError(f"The service was not ready after {_STARTING_SECONDS} s; see {log}.")


def _command() -> str:
    """How this shell would call `gantry`: by its name, or by the path to the environment that it is in."""
    if shutil.which("gantry"):
        return "gantry"
    path = Path(sys.executable).parent / "gantry"
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _tell(console: Console, out: Path, data: Path, job_id: str, seconds: float) -> None:
    base = f"http://127.0.0.1:8000/v1/jobs/{job_id}"
    lines = [
        f"Done in {seconds:.0f} s. Look at:",
        f"  {out / 'samples.png'}   ten images of each class, a row a class",
        f"  {out / 'loss.png'}      both losses",
        "Next, draw more from the same generator:",
        f"  {_command()} up --data {data}",
        f"  curl '{base}/samples?label=Sneaker&n=16' -o sneakers.png",
        f"  curl '{base}/samples?label=Bag&label=Coat&n=8&seed=7' -o bags-and-coats.png",
        f"  curl '{base}/previews.gif' -o learning.gif",
        f"  curl {base}",
    ]
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
