"""So many at a time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack

import pytest

from jobs.errors import RenderingBusyError
from jobs.runtime.limiter import ConcurrencyLimiter


def test_who_comes_when_all_are_taken_is_told_at_once_and_a_place_that_is_left_is_free() -> None:
    places = ConcurrencyLimiter(2, RenderingBusyError, "Come back in a moment.")
    with ExitStack() as taken:
        taken.enter_context(places.slot())
        with places.slot():
            for _ in range(2):
                with pytest.raises(RenderingBusyError, match="Come back in a moment"), places.slot():
                    raise AssertionError("there is no third place")
        with places.slot():
            pass


def test_a_place_is_left_however_its_work_ends() -> None:
    places = ConcurrencyLimiter(1, RenderingBusyError, "Come back in a moment.")
    with pytest.raises(ZeroDivisionError), places.slot():
        raise ZeroDivisionError
    with places.slot():
        pass


def test_as_many_wait_as_may_and_one_more_is_told_at_once() -> None:
    places = ConcurrencyLimiter(1, RenderingBusyError, "Come back in a moment.", waiting=2)

    def wait() -> None:
        with places.slot(within_seconds=60):
            pass

    with ThreadPoolExecutor(3) as threads:
        with places.slot():
            asked = [threads.submit(wait) for _ in range(3)]
            refused = next(as_completed(asked, timeout=30))
            assert isinstance(refused.exception(), RenderingBusyError)
            assert [one.done() for one in asked].count(True) == 1, "the others wait"
        assert [one.exception(timeout=30) for one in asked if one is not refused] == [None, None]
