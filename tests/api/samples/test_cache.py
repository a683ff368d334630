"""The cache of drawn images: it returns the stored bytes or nothing, and keeps its folder within a size."""

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
    """Set the last use of a body to `seconds` ago."""
    (path,) = folder.glob(f"*.{tag.strip(chr(34))}")
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_bodies_survive_a_restart_and_are_shared(folder: Path) -> None:
    SampleCache(folder, ROOM).put("job_a", ETAG, b"images")
    again = SampleCache(folder, ROOM)
    assert again.get("job_a", ETAG) == b"images"
    assert again.get("job_b", ETAG) is again.get("job_a", etag(1)) is None


def test_a_cache_of_size_zero_stores_nothing(folder: Path) -> None:
    none = SampleCache(folder, 0)
    none.put("job_a", ETAG, b"")
    assert none.get("job_a", ETAG) is None and not folder.exists()
    small = SampleCache(folder, 1000)
    small.put("job_a", ETAG, bytes(1000))
    assert small.get("job_a", ETAG) is None


def test_the_least_recently_used_are_removed_first(folder: Path) -> None:
    cache = SampleCache(folder, ROOM)
    for i in range(9):
        cache.put("job_a", etag(i), bytes(10_000))
        age(folder, etag(i), 1000 - i)
    assert cache.get("job_a", etag(0)) is not None, "this use makes it the last to be removed"
    for i in range(9, 12):
        cache.put("job_a", etag(i), bytes(10_000))
    kept = [i for i in range(12) if cache.get("job_a", etag(i)) is not None]
    assert kept[0] == 0 and kept[1:] == list(range(12))[-len(kept) + 1 :] and len(kept) >= 7


def test_one_process_never_exceeds_the_size(folder: Path) -> None:
    cache = SampleCache(folder, ROOM)
    for i in range(200):
        cache.put("job_a", etag(i), bytes(1 + 97 * i % 9000))
        assert size(folder) <= ROOM
    assert size(folder) > ROOM / 2


def test_several_processes_exceed_the_size_by_little(folder: Path) -> None:
    processes = [SampleCache(folder, ROOM) for _ in range(4)]

    def fill(number: int) -> None:
        for i in range(100):
            processes[number].put("job_a", etag(1000 * number + i), bytes(2000))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(fill, range(4)))
    assert ROOM / 2 < size(folder) <= ROOM * (1 + 4 / 16)
    assert not list(folder.glob("*.tmp"))


def test_incomplete_files_of_a_killed_process_are_removed(folder: Path) -> None:
    folder.mkdir()
    (left := folder / "job_a.b.c.tmp").write_bytes(bytes(90_000))
    os.utime(left, (0, 0))
    SampleCache(folder, ROOM).put("job_a", ETAG, bytes(10_000))
    assert not left.exists()


@pytest.mark.parametrize("harm", [lambda data: data[:-1], lambda data: b"", lambda data: data[:-1] + b"\xff"])
def test_a_damaged_body_is_removed(folder: Path, harm: Callable[[bytes], bytes]) -> None:
    cache = SampleCache(folder, ROOM)
    cache.put("job_a", ETAG, b"images")
    (path,) = folder.iterdir()
    path.write_bytes(harm(path.read_bytes()))
    assert cache.get("job_a", ETAG) is None
    assert not path.exists()


def test_drop_removes_the_bodies_of_one_job_only(folder: Path) -> None:
    cache = SampleCache(folder, ROOM)
    cache.drop("job_a")
    for job_id in ("job_a", "job_ab"):
        cache.put(job_id, ETAG, b"images")
    cache.drop("job_a")
    assert cache.get("job_a", ETAG) is None and cache.get("job_ab", ETAG) == b"images"


def test_a_disk_that_fails_is_a_warning(folder: Path) -> None:
    folder.write_bytes(b"a file where the folder should be")
    cache = SampleCache(folder, ROOM)
    with capture_logs() as lines:
        cache.put("job_a", ETAG, b"images")
        assert cache.get("job_a", ETAG) is None
    assert [line["log_level"] for line in lines] == ["warning", "warning"]
