"""The store on the disk: its layout, its permissions, and what is durable in which order."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.errors import ArtifactLostError
from jobs.storage.disk import DiskStorage


@pytest.fixture
def disk(tmp_path: Path) -> DiskStorage:
    """Return an empty store."""
    return DiskStorage(tmp_path / "data")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return the folder of `disk`."""
    return tmp_path / "data"


@pytest.fixture
def other_disk(tmp_path: Path) -> Iterator[Path]:
    """Yield a folder on another file system than `tmp_path`."""
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is one file system only")
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


@pytest.fixture
def syscalls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note each sync and rename, by the name of the file or folder."""
    seen: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def noted_fsync(descriptor: int) -> None:
        seen.append(f"sync {Path(f'/proc/self/fd/{descriptor}').readlink().name}")
        fsync(descriptor)

    def noted_replace(self: Path, target: Path) -> Path:
        seen.append(f"rename {target.name}")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    return seen


def plain(seen: list[str]) -> list[str]:
    """Return the calls without the random part of an unfinished file's name."""
    return [".".join(part for part in call.split(".") if len(part) != 12) for call in seen]


def test_the_layout_is_that_of_earlier_versions(disk: DiskStorage, root: Path) -> None:
    (root / "artifacts/default/job_a/checkpoints").mkdir(parents=True)
    (root / "artifacts/default/job_a/checkpoints/000000300.1.pt").write_bytes(b"abc")
    assert disk.artifacts("default").read_bytes("job_a/checkpoints/000000300.1.pt") == b"abc"
    disk.datasets("default").put_bytes("ds_a/upload.zip", b"zip")
    assert (root / "datasets/default/ds_a/upload.zip").read_bytes() == b"zip"


def test_folders_from_before_there_were_tenants_become_the_default_tenants(disk: DiskStorage, root: Path) -> None:
    for name in ("artifacts/job_a", "datasets/ds_a", "artifacts/acme/job_b"):
        (root / name).mkdir(parents=True)
        (root / name / "file").write_text("kept")
    disk.upgrade("default")
    keys = ["artifacts/acme/job_b/file", "artifacts/default/job_a/file", "datasets/default/ds_a/file"]
    assert disk.list_keys() == keys


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="looks into /proc")
def test_a_file_is_synced_then_renamed_then_its_folder_is_synced(
    disk: DiskStorage, root: Path, syscalls: list[str]
) -> None:
    root.mkdir()
    disk.put_bytes("job_a/x.bin", b"abc")
    made = ["sync data"]  # the name of job_a in it
    assert plain(syscalls) == [*made, "sync x.bin.tmp", "rename x.bin", "sync job_a"]
    syscalls.clear()
    disk.copy("job_a/x.bin", "job_b/y.bin")
    assert plain(syscalls) == [*made, "rename y.bin", "sync job_b"]
    syscalls.clear()
    with disk.scratch_folder("ds_a/1") as folder:
        (folder / "images.bin").write_bytes(b"abc")
        disk.put_folder("ds_a/1", folder)
    assert plain(syscalls) == [*made, "sync images.bin", "sync 1.tmp", "rename 1", "sync ds_a"]


def test_files_and_folders_are_their_users_alone_whatever_the_umask(disk: DiskStorage, root: Path) -> None:
    before = os.umask(0)
    try:
        disk.put_bytes("job_a/checkpoints/x.bin", b"abc")
        with disk.scratch_folder("ds_a/1") as folder:
            disk.put_folder("ds_a/1", folder)
        with disk.live_file("job_a/attempts/1.log"):
            pass
        disk.writable_folder("job_c")
    finally:
        os.umask(before)
    modes = {path.relative_to(root).as_posix(): path.stat().st_mode & 0o777 for path in root.rglob("*")}
    assert modes.pop("job_a/checkpoints/x.bin") == 0o600
    assert len(modes) == 6 and set(modes.values()) == {0o700}


def test_a_copy_shares_its_bytes(disk: DiskStorage, root: Path) -> None:
    disk.put_bytes("job_a/x.bin", b"abc")
    disk.copy("job_a/x.bin", "job_b/y.bin")
    assert (root / "job_b/y.bin").stat().st_nlink == 2


def test_where_there_are_no_links_the_bytes_are_copied(disk: DiskStorage, root: Path, other_disk: Path) -> None:
    disk.put_bytes("job_a/x.bin", b"abc")
    (root / "job_b").symlink_to(other_disk)
    disk.copy("job_a/x.bin", "job_b/x.bin")
    assert (other_disk / "x.bin").read_bytes() == b"abc" and (other_disk / "x.bin").stat().st_nlink == 1


def test_what_lies_on_another_disk_is_moved_in(disk: DiskStorage, root: Path, other_disk: Path) -> None:
    (other_disk / "file").write_bytes(b"abc")
    assert disk.put_file("job_a/x.bin", other_disk / "file").bytes == 3
    (other_disk / "folder").mkdir()
    (other_disk / "folder/images.bin").write_bytes(b"d")
    disk.put_folder("ds_a/1", other_disk / "folder")
    assert (root / "job_a/x.bin").read_bytes() == b"abc" and (root / "ds_a/1/images.bin").read_bytes() == b"d"
    assert list(other_disk.iterdir()) == [] and len(disk.list_keys(unfinished=True)) == 2


@pytest.mark.parametrize("damage", [b"", b"ab", b"abd", b"abcd"])
def test_a_file_that_was_damaged_on_the_disk_is_refused(disk: DiskStorage, root: Path, damage: bytes) -> None:
    stored = disk.put_bytes("job_a/x.bin", b"abc")
    (root / "job_a/x.bin").write_bytes(damage)
    with pytest.raises(ArtifactLostError, match="not what was written"):
        disk.verify(stored.key, stored.bytes, stored.sha256)


def test_half_written_files_of_a_killed_writer_are_swept(disk: DiskStorage, root: Path) -> None:
    disk.put_bytes("job_a/x.bin", b"abc")
    (root / "job_a/y.bin.tmp").write_bytes(b"half")
    (root / "job_a/z.bin.0123456789ab.tmp").write_bytes(b"half, by an earlier version")
    disk.sweep_unfinished("job_a")
    assert [path.name for path in (root / "job_a").iterdir()] == ["x.bin"]


def test_a_folder_is_as_old_as_what_was_last_written_below_it(disk: DiskStorage, root: Path) -> None:
    disk.put_bytes("job_a/checkpoints/x.bin", b"abc")
    for path in (root / "job_a/checkpoints/x.bin", root / "job_a/checkpoints", root / "job_a"):
        assert disk.modified_at("job_a") > 1000
        os.utime(path, (1000, 1000))
    assert disk.modified_at("job_a") == 1000
    disk.copy("job_a/checkpoints/x.bin", "job_b/x.bin")
    assert disk.modified_at("job_b") > 1000, "a link has the time of the file, and its folder that of the copy"


def test_a_file_where_a_folder_should_be_is_an_error_of_the_system(disk: DiskStorage, root: Path) -> None:
    root.write_bytes(b"no folder")
    with pytest.raises(OSError, match="exists"):
        disk.put_bytes("job_a/x", b"")
    with pytest.raises(OSError, match="exists"):
        disk.free_bytes()
    assert not disk.exists("job_a/x") and disk.folders() == [] and disk.check()[0] is False


def test_the_check_says_what_to_do(disk: DiskStorage, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert disk.check() == (False, f"{root} does not exist yet: `gantry up` or `gantry migrate` creates it")
    disk.put_bytes("artifacts/acme/job_a/x", b"")
    assert disk.check()[1].startswith(f"{root / 'artifacts'}, ")
    monkeypatch.setattr("jobs.storage.disk._LITTLE_SPACE_BYTES", 1 << 62)
    works, detail = disk.check()
    assert not works and "delete jobs, or free some space" in detail
