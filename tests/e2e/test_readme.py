"""README's curl lines, run by a shell against `gantry up`, as a new user would."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx2
from PIL import Image

from tests.e2e.service import free_port

README = (Path(__file__).parent.parent.parent / "README.md").read_text()
GANTRY = str(Path(sys.executable).parent / "gantry")


def _curl_lines(port: int) -> str:
    blocks = re.findall(r"```sh\n(.*?)```", README.split("\n## With curl\n")[1].split("\n## ")[0], re.DOTALL)
    script = "set -euo pipefail\n" + "".join(blocks)
    assert "8123" in script and '"total_steps": 300' in script
    # The same lines on a free port, and fewer steps: the words are tested, not the patience.
    return script.replace("8123", str(port)).replace('"total_steps": 300', '"total_steps": 30')


def test_the_curl_lines_work_as_written(tmp_path: Path) -> None:
    assert shutil.which("curl"), "README speaks to people who have curl; so must this machine"
    port = free_port()
    log = (tmp_path / "up.log").open("wb")
    argv = [GANTRY, "up", "--port", str(port), "--data", str(tmp_path / "data")]
    up = subprocess.Popen(argv, stdout=log, stderr=log, env={**os.environ, "GANTRY_TRAINER_THREADS": "1"})
    try:
        _wait_until_ready(f"http://127.0.0.1:{port}/readyz")
        done = subprocess.run(
            ["bash", "-c", _curl_lines(port)], cwd=tmp_path, capture_output=True, text=True, timeout=180, check=False
        )
        assert done.returncode == 0, done.stderr + (tmp_path / "up.log").read_text()[-3000:]
        assert Image.open(tmp_path / "sneakers.png").size[0] > 8 * 28
        assert Image.open(tmp_path / "loss.png").format == "PNG"
        assert Image.open(tmp_path / "previews.gif").format == "GIF"
        assert '"Sneaker"' in done.stdout and '"loss_d"' in done.stdout
    finally:
        up.send_signal(signal.SIGINT)
        assert up.wait(timeout=60) == 0, (tmp_path / "up.log").read_text()[-3000:]
    assert _processes_of(tmp_path) == []


def _wait_until_ready(url: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if httpx2.get(url).status_code == 200:
                return
        except httpx2.TransportError:
            pass
        time.sleep(0.2)
    raise AssertionError(f"{url} did not come up")


def _processes_of(folder: Path) -> list[str]:
    """Command lines of processes whose environment names `folder`: what a stopped service must not leave."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(folder / "data").encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except (PermissionError, FileNotFoundError, ProcessLookupError):
            continue
    return found
