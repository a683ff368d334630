"""The thread that kills a trainer whose lease can no longer be held."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from worker.watchdog import Watchdog


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    yield process
    process.kill()
    process.wait()


def test_without_a_heartbeat_in_time_the_trainer_is_killed(sleeper: subprocess.Popen[bytes]) -> None:
    watchdog = Watchdog(sleeper, 0.3, time.monotonic())
    watchdog.start()
    assert sleeper.wait(timeout=60) == -signal.SIGKILL
    watchdog.stop()
    assert watchdog.fired


def test_with_a_heartbeat_in_time_the_trainer_lives(
    sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a clock of the test: on the machine's clock, a pause of the machine would count.
    now = [0.0]
    monkeypatch.setattr("worker.watchdog.time", SimpleNamespace(monotonic=lambda: now[0]))
    watchdog = Watchdog(sleeper, 1.0, 0.0)
    watchdog.start()
    watchdog.feed(5.0)
    now[0] = 5.5
    time.sleep(2.5)
    watchdog.stop()
    assert not watchdog.fired and sleeper.poll() is None


def test_the_limit_counts_from_the_given_time(sleeper: subprocess.Popen[bytes]) -> None:
    watchdog = Watchdog(sleeper, 60.0, time.monotonic() - 61.0)
    watchdog.start()
    assert sleeper.wait(timeout=60) == -signal.SIGKILL
    watchdog.stop()
