"""Files are written whole or not at all, and are what the record says or are refused."""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.errors import ArtifactLostError
from jobs.ids import new_id
from jobs.storage.disk import Artifacts


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    return Artifacts(tmp_path)


@pytest.fixture
def other_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on another file system than `tmp_path`."""
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is one file system only")
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


def test_what_is_written_can_be_read_and_verified(artifacts: Artifacts) -> None:
    stored = artifacts.write("job_a/x.bin", b"abc")
    assert stored.bytes == 3 and stored.sha256 == hashlib.sha256(b"abc").hexdigest()
    assert artifacts.read("job_a/x.bin") == b"abc"
    assert artifacts.verify(stored.key, stored.bytes, stored.sha256).read_bytes() == b"abc"


def test_an_error_while_writing_leaves_the_old_file_and_nothing_else(artifacts: Artifacts) -> None:
    artifacts.write("job_a/x.bin", b"old")
    with pytest.raises(OSError, match="full"), artifacts.writing("job_a/x.bin") as out:
        out.write(b"half")
        raise OSError("full")
    assert artifacts.read("job_a/x.bin") == b"old"
    assert [p.name for p in artifacts.path("job_a").iterdir()] == ["x.bin"]


@pytest.mark.parametrize("damage", [b"", b"ab", b"abd", b"abcd"])
def test_a_damaged_file_is_refused(artifacts: Artifacts, damage: bytes) -> None:
    stored = artifacts.write("job_a/x.bin", b"abc")
    artifacts.path(stored.key).write_bytes(damage)
    with pytest.raises(ArtifactLostError, match="not what was written"):
        artifacts.verify(stored.key, stored.bytes, stored.sha256)


def test_a_missing_file_has_a_sentence(artifacts: Artifacts) -> None:
    with pytest.raises(ArtifactLostError, match="gone"):
        artifacts.read("job_a/none")
    with pytest.raises(ArtifactLostError, match="gone"):
        artifacts.verify("job_a/none", 0, "")


@pytest.mark.parametrize("key", ["../x", "/etc/passwd", "job_a/../../x"])
def test_a_key_never_leaves_the_folder(artifacts: Artifacts, key: str) -> None:
    with pytest.raises(AssertionError):
        artifacts.path(key)


def test_a_linked_file_outlives_the_one_it_was_linked_from(artifacts: Artifacts) -> None:
    stored = artifacts.write("job_a/deep/x.bin", b"abc")
    artifacts.link("job_a/deep/x.bin", "job_b/checkpoints/y.bin")
    assert artifacts.path("job_b/checkpoints/y.bin").stat().st_nlink == 2, "no byte was copied"
    artifacts.delete_job("job_a")
    artifacts.verify("job_b/checkpoints/y.bin", stored.bytes, stored.sha256)
    with pytest.raises(ArtifactLostError, match="gone"):
        artifacts.link("job_a/deep/x.bin", "job_b/z.bin")
    assert not artifacts.exists("job_b/z.bin")


def test_a_new_file_leaves_what_was_linked_from_the_old_one(artifacts: Artifacts) -> None:
    artifacts.write("job_a/x.bin", b"old")
    artifacts.link("job_a/x.bin", "job_b/x.bin")
    artifacts.write("job_a/x.bin", b"new")
    assert artifacts.read("job_b/x.bin") == b"old"


def test_where_there_are_no_links_there_is_a_copy(artifacts: Artifacts, other_disk: Path) -> None:
    artifacts.write("job_a/x.bin", b"abc")
    artifacts.path("job_b").symlink_to(other_disk)
    artifacts.link("job_a/x.bin", "job_b/x.bin")
    assert (other_disk / "x.bin").read_bytes() == b"abc" and (other_disk / "x.bin").stat().st_nlink == 1


def test_orphans_are_old_folders_that_no_job_owns(artifacts: Artifacts) -> None:
    old, new, known = (new_id("job") for _ in range(3))
    for name in (old, new, known, "lost+found"):
        artifacts.write(f"{name}/x", b"")
    for name in (old, known, "lost+found"):
        os.utime(artifacts.path(name), (0, 0))
    assert artifacts.orphans({known}, older_than_seconds=60) == [old]
    artifacts.delete_job(old)
    artifacts.delete_job(old)
    assert not artifacts.path(old).exists()


def test_two_that_write_one_key_leave_one_whole_file(artifacts: Artifacts) -> None:
    with artifacts.writing("job_a/x") as first:
        first.write(b"AAAA")
        with artifacts.writing("job_a/x") as second:
            second.write(b"BBBBBB")
        first.write(b"AAAA")
    assert artifacts.verify("job_a/x", first.stored.bytes, first.stored.sha256).read_bytes() == b"AAAAAAAA"
    assert second.stored.sha256 == hashlib.sha256(b"BBBBBB").hexdigest()


def test_half_written_files_of_a_killed_writer_are_swept(artifacts: Artifacts) -> None:
    artifacts.write("job_a/x.bin", b"abc")
    artifacts.path("job_a/y.bin.tmp").write_bytes(b"half")
    artifacts.sweep_unfinished("job_a")
    assert [p.name for p in artifacts.path("job_a").iterdir()] == ["x.bin"]
