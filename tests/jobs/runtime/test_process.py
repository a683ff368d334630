"""Children end with their parents, by request or by force."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from jobs.runtime.process import end, end_all, spawn

_SLEEP = "import time; time.sleep(600)"
_DEAF = "import signal as s, time; s.signal(s.SIGTERM, s.SIG_IGN); print('deaf', flush=True); time.sleep(600)"


def test_a_willing_child_stops_when_asked() -> None:
    child = spawn([sys.executable, "-c", _SLEEP], env=os.environ)
    assert end(child, grace=60) == -signal.SIGTERM


def test_a_deaf_child_is_killed_after_its_grace() -> None:
    child = spawn([sys.executable, "-c", _DEAF], env=os.environ, stdout=subprocess.PIPE)
    assert child.stdout is not None and child.stdout.readline() == b"deaf\n"
    started = time.monotonic()
    assert end(child, grace=0.5) == -signal.SIGKILL
    assert time.monotonic() - started < 30


def test_several_are_asked_at_once_and_each_has_its_own_grace() -> None:
    deaf = [spawn([sys.executable, "-c", _DEAF], env=os.environ, stdout=subprocess.PIPE) for _ in range(8)]
    willing = spawn([sys.executable, "-c", _SLEEP], env=os.environ)
    for child in deaf:
        assert child.stdout is not None and child.stdout.readline() == b"deaf\n"
    started = time.monotonic()
    end_all([(willing, 60), *((child, 4) for child in deaf)])
    assert 4 <= time.monotonic() - started < 30, "not one after the other, and the machine may stand still"
    assert [child.returncode for child in (willing, *deaf)] == [-signal.SIGTERM, *[-signal.SIGKILL] * 8]


def test_a_child_dies_with_a_parent_that_was_killed(tmp_path: Path) -> None:
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
