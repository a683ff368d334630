"""Tests of the limit on concurrent users."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack

import pytest

from jobs.errors import RenderingBusyError
from jobs.runtime.limiter import ConcurrencyLimiter


def test_a_further_user_is_refused_at_once_until_a_slot_is_free() -> None:
    limiter = ConcurrencyLimiter(2, RenderingBusyError, "Come back in a moment.")
    with ExitStack() as taken:
        taken.enter_context(limiter.slot())
        with limiter.slot():
            for _ in range(2):
                with pytest.raises(RenderingBusyError, match="Come back in a moment"), limiter.slot():
                    raise AssertionError("there is no third slot")
        with limiter.slot():
            pass


def test_a_slot_is_freed_when_its_block_raises() -> None:
    limiter = ConcurrencyLimiter(1, RenderingBusyError, "Come back in a moment.")
    with pytest.raises(ZeroDivisionError), limiter.slot():
        raise ZeroDivisionError
    with limiter.slot():
        pass


def test_a_limited_number_waits_and_one_more_is_refused_at_once() -> None:
    limiter = ConcurrencyLimiter(1, RenderingBusyError, "Come back in a moment.", waiting=2)

    def wait() -> None:
        with limiter.slot(within_seconds=60):
            pass

    with ThreadPoolExecutor(3) as threads:
        with limiter.slot():
            users = [threads.submit(wait) for _ in range(3)]
            refused = next(as_completed(users, timeout=30))
            assert isinstance(refused.exception(), RenderingBusyError)
            assert [one.done() for one in users].count(True) == 1, "the others wait"
        assert [one.exception(timeout=30) for one in users if one is not refused] == [None, None]
