"""Tests of child processes: they end with their parent, on request or by force."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from jobs.runtime.process import end, end_all, spawn

_SLEEP = "import time; time.sleep(600)"
_IGNORES_SIGTERM = (
    "import signal as s, time; s.signal(s.SIGTERM, s.SIG_IGN); print('ready', flush=True); time.sleep(600)"
)


def test_a_child_stops_on_request() -> None:
    child = spawn([sys.executable, "-c", _SLEEP], env=os.environ)
    assert end(child, grace=60) == -signal.SIGTERM


def test_a_child_that_ignores_sigterm_is_killed_after_its_grace() -> None:
    child = spawn([sys.executable, "-c", _IGNORES_SIGTERM], env=os.environ, stdout=subprocess.PIPE)
    assert child.stdout is not None and child.stdout.readline() == b"ready\n"
    started = time.monotonic()
    assert end(child, grace=0.5) == -signal.SIGKILL
    assert time.monotonic() - started < 30


def test_several_children_are_stopped_at_once_each_with_its_own_grace() -> None:
    stubborn = [
        spawn([sys.executable, "-c", _IGNORES_SIGTERM], env=os.environ, stdout=subprocess.PIPE) for _ in range(8)
    ]
    willing = spawn([sys.executable, "-c", _SLEEP], env=os.environ)
    for child in stubborn:
        assert child.stdout is not None and child.stdout.readline() == b"ready\n"
    started = time.monotonic()
    end_all([(willing, 60), *((child, 4) for child in stubborn)])
    assert 4 <= time.monotonic() - started < 30, "at the same time, not one after the other"
    assert [child.returncode for child in (willing, *stubborn)] == [-signal.SIGTERM, *[-signal.SIGKILL] * 8]


def test_a_child_dies_when_its_parent_is_killed(tmp_path: Path) -> None:
    script = (
        "import os, sys, time; from jobs.runtime.process import spawn\n"
        f"child = spawn([sys.executable, '-c', {_SLEEP!r}], env=os.environ)\n"
        "print(child.pid, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 60
    while _alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _alive(pid)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
