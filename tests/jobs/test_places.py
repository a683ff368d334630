"""So many at a time."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack

import pytest

from jobs.errors import PicturesBusy
from jobs.places import Places


def test_who_comes_when_all_are_taken_is_told_at_once_and_a_place_that_is_left_is_free() -> None:
    places = Places(2, PicturesBusy, "Come back in a moment.")
    with ExitStack() as taken:
        taken.enter_context(places.one())
        with places.one():
            for _ in range(2):
                with pytest.raises(PicturesBusy, match="Come back in a moment"), places.one():
                    raise AssertionError("there is no third place")
        with places.one():
            pass


def test_a_place_is_left_however_its_work_ends() -> None:
    places = Places(1, PicturesBusy, "Come back in a moment.")
    with pytest.raises(ZeroDivisionError), places.one():
        raise ZeroDivisionError
    with places.one():
        pass


def test_as_many_wait_as_may_and_one_more_is_told_at_once() -> None:
    places = Places(1, PicturesBusy, "Come back in a moment.", waiting=1)
    waits = threading.Event()

    def wait() -> None:
        waits.set()
        with places.one(within_seconds=60):
            pass

    with places.one():
        waiting = threading.Thread(target=wait)
        waiting.start()
        waits.wait()
        while places._there.acquire(blocking=False):  # until it has come in
            places._there.release()
            time.sleep(0.01)
        began = time.monotonic()
        with pytest.raises(PicturesBusy), places.one(within_seconds=60):
            raise AssertionError("there is no room to wait")
        assert time.monotonic() - began < 30
    waiting.join(timeout=30)
    assert not waiting.is_alive(), "the place that was left is its"
