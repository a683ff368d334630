"""Drawn images on disk: what was put is what comes back, or nothing; and the folder stays within its bounds."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from api.samples.cache import SampleCache

ROOM = 100_000
ETAG = '"' + "a" * 40 + '"'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "answers"


def etag(i: int) -> str:
    return f'"{i:040x}"'


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def age(folder: Path, tag: str, seconds: float) -> None:
    """As if it had last been asked for so long ago."""
    (path,) = folder.glob(f"*.{tag.strip(chr(34))}")
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_what_was_put_comes_back_after_a_restart_and_in_another_process(folder: Path) -> None:
    SampleCache(folder, ROOM).put("job_a", ETAG, b"images")
    again = SampleCache(folder, ROOM)
    assert again.get("job_a", ETAG) == b"images"
    assert again.get("job_b", ETAG) is again.get("job_a", etag(1)) is None


def test_nothing_is_kept_where_nothing_may_be(folder: Path) -> None:
    none = SampleCache(folder, 0)
    none.put("job_a", ETAG, b"")
    assert none.get("job_a", ETAG) is None and not folder.exists()
    small = SampleCache(folder, 1000)
    small.put("job_a", ETAG, bytes(1000))
    assert small.get("job_a", ETAG) is None


def test_the_longest_unused_go_first(folder: Path) -> None:
    answers = SampleCache(folder, ROOM)
    for i in range(9):
        answers.put("job_a", etag(i), bytes(10_000))
        age(folder, etag(i), 1000 - i)
    assert answers.get("job_a", etag(0)) is not None, "asked for: now the last to go"
    for i in range(9, 12):
        answers.put("job_a", etag(i), bytes(10_000))
    kept = [i for i in range(12) if answers.get("job_a", etag(i)) is not None]
    assert kept[0] == 0 and kept[1:] == list(range(12))[-len(kept) + 1 :] and len(kept) >= 7


def test_one_process_never_keeps_more_than_it_may(folder: Path) -> None:
    answers = SampleCache(folder, ROOM)
    for i in range(200):
        answers.put("job_a", etag(i), bytes(1 + 97 * i % 9000))
        assert size(folder) <= ROOM
    assert size(folder) > ROOM / 2


def test_several_processes_keep_little_more_together(folder: Path) -> None:
    processes = [SampleCache(folder, ROOM) for _ in range(4)]

    def fill(number: int) -> None:
        for i in range(100):
            processes[number].put("job_a", etag(1000 * number + i), bytes(2000))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(fill, range(4)))
    assert ROOM / 2 < size(folder) <= ROOM * (1 + 4 / 16)
    assert not list(folder.glob("*.tmp"))


def test_what_a_killed_process_left_half_written_goes_too(folder: Path) -> None:
    folder.mkdir()
    (left := folder / "job_a.b.c.tmp").write_bytes(bytes(90_000))
    os.utime(left, (0, 0))
    SampleCache(folder, ROOM).put("job_a", ETAG, bytes(10_000))
    assert not left.exists()


@pytest.mark.parametrize("harm", [lambda data: data[:-1], lambda data: b"", lambda data: data[:-1] + b"\xff"])
def test_a_damaged_answer_is_none_and_is_dropped(folder: Path, harm: Callable[[bytes], bytes]) -> None:
    answers = SampleCache(folder, ROOM)
    answers.put("job_a", ETAG, b"images")
    (path,) = folder.iterdir()
    path.write_bytes(harm(path.read_bytes()))
    assert answers.get("job_a", ETAG) is None
    assert not path.exists()


def test_a_jobs_answers_are_dropped_and_no_others(folder: Path) -> None:
    answers = SampleCache(folder, ROOM)
    answers.drop("job_a")
    for job_id in ("job_a", "job_ab"):
        answers.put(job_id, ETAG, b"images")
    answers.drop("job_a")
    assert answers.get("job_a", ETAG) is None and answers.get("job_ab", ETAG) == b"images"


def test_a_disk_that_fails_is_a_warning(folder: Path) -> None:
    folder.write_bytes(b"a file where the folder should be")
    answers = SampleCache(folder, ROOM)
    with capture_logs() as lines:
        answers.put("job_a", ETAG, b"images")
        assert answers.get("job_a", ETAG) is None
    assert [line["log_level"] for line in lines] == ["warning", "warning"]
