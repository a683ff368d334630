"""What every back end of the store must do, asked through the public interface alone."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import pytest

from jobs.errors import ArtifactLostError
from jobs.ids import new_id
from jobs.storage import Storage, StoredFile
from jobs.storage.orphans import find_orphans


def sha256(data: bytes) -> str:
    """Return the digest in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


class TestWriting:
    """Files are written whole or not at all."""

    @pytest.mark.parametrize("data", [b"", b"abc", bytes(range(256)) * 10_000])
    def test_bytes_are_read_as_they_were_put(self, storage: Storage, data: bytes) -> None:
        assert not storage.exists("job_a/x.bin")
        stored = storage.put_bytes("job_a/x.bin", data)
        assert stored == StoredFile("job_a/x.bin", len(data), sha256(data)) == storage.describe("job_a/x.bin")
        assert storage.exists("job_a/x.bin") and storage.read_bytes("job_a/x.bin") == data
        storage.verify(stored.key, stored.bytes, stored.sha256)

    def test_a_stream_is_stored_when_its_block_ends(self, storage: Storage) -> None:
        with storage.writing("job_a/x.bin") as out:
            assert out.write(b"ab") == 2
            out.flush()
            assert not storage.exists("job_a/x.bin") and out.sha256 == sha256(b"ab")
            out.write(b"c")
        assert out.stored == StoredFile("job_a/x.bin", 3, sha256(b"abc"))
        assert storage.read_bytes("job_a/x.bin") == b"abc"

    def test_an_error_while_writing_leaves_the_old_file_and_nothing_else(self, storage: Storage) -> None:
        storage.put_bytes("job_a/x.bin", b"old")
        with pytest.raises(OSError, match="full"), storage.writing("job_a/x.bin") as out:
            out.write(b"half")
            raise OSError("full")
        assert storage.read_bytes("job_a/x.bin") == b"old"
        assert storage.list_keys(unfinished=True) == ["job_a/x.bin"]

    def test_two_writers_of_one_key_leave_one_whole_file(self, storage: Storage) -> None:
        with storage.writing("job_a/x") as first:
            first.write(b"AAAA")
            with storage.writing("job_a/x") as second:
                second.write(b"BBBBBB")
            first.write(b"AAAA")
        storage.verify("job_a/x", first.stored.bytes, first.stored.sha256)
        assert storage.read_bytes("job_a/x") == b"AAAAAAAA"
        assert second.stored.sha256 == sha256(b"BBBBBB")
        assert storage.list_keys(unfinished=True) == ["job_a/x"]

    def test_a_reader_never_sees_a_part(self, storage: Storage) -> None:
        contents = [bytes([n]) * 100_000 for n in (1, 2)]
        storage.put_bytes("job_a/x", contents[0])
        with ThreadPoolExecutor(1) as threads:
            writes = threads.submit(lambda: [storage.put_bytes("job_a/x", contents[n % 2]) for n in range(30)])
            while not writes.done():
                assert storage.read_bytes("job_a/x") in contents
            writes.result()

    @pytest.mark.parametrize("known", [False, True])
    def test_a_local_file_is_taken_over(self, storage: Storage, tmp_path: Path, known: bool) -> None:
        (tmp_path / "local").write_bytes(b"abc")
        stored = storage.put_file("ds_a/upload.zip", tmp_path / "local", sha256(b"abc") if known else None)
        assert stored == StoredFile("ds_a/upload.zip", 3, sha256(b"abc"))
        assert storage.read_bytes("ds_a/upload.zip") == b"abc" and not (tmp_path / "local").exists()

    def test_a_local_file_that_is_gone_is_an_error(self, storage: Storage, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            storage.put_file("job_a/x", tmp_path / "none")
        assert storage.list_keys(unfinished=True) == []

    def test_a_file_never_replaces_a_folder(self, storage: Storage) -> None:
        storage.put_bytes("job_a/x", b"abc")
        with suppress(OSError):
            storage.put_bytes("job_a", b"d")
        assert storage.read_bytes("job_a/x") == b"abc"

    def test_a_scratch_file_is_stored_only_by_put_file(self, storage: Storage) -> None:
        with storage.scratch_file("ds_a/upload.zip") as path:
            path.write_bytes(b"a")
            assert not storage.exists("ds_a/upload.zip")
        assert not path.exists() and storage.list_keys(unfinished=True) == []
        with storage.scratch_file("ds_a/upload.zip") as path:
            path.write_bytes(b"b")
            storage.put_file("ds_a/upload.zip", path)
        assert storage.read_bytes("ds_a/upload.zip") == b"b"
        assert storage.list_keys(unfinished=True) == ["ds_a/upload.zip"]

    def test_a_scratch_folder_is_stored_whole_by_put_folder(self, storage: Storage) -> None:
        storage.put_bytes("ds_a/1/old.bin", b"of an attempt before")
        with storage.scratch_folder("ds_a/1") as folder:
            (folder / "images.bin").write_bytes(b"abc")
            (folder / "deep").mkdir()
            (folder / "deep" / "labels.bin").write_bytes(b"d")
            assert storage.list_keys("ds_a") == ["ds_a/1/old.bin"]
            storage.put_folder("ds_a/1", folder)
        keys = ["ds_a/1/deep/labels.bin", "ds_a/1/images.bin"]
        assert storage.list_keys("ds_a", unfinished=True) == keys
        assert [storage.read_bytes(key) for key in keys] == [b"d", b"abc"]
        with storage.local_folder("ds_a/1") as folder:
            assert (folder / "images.bin").read_bytes() == b"abc"
            assert (folder / "deep" / "labels.bin").read_bytes() == b"d"

    def test_a_scratch_folder_that_is_not_stored_is_removed(self, storage: Storage) -> None:
        with pytest.raises(ValueError, match="refused"), storage.scratch_folder("ds_a/1") as folder:
            (folder / "images.bin").write_bytes(b"abc")
            raise ValueError("refused")
        assert not folder.exists() and storage.list_keys(unfinished=True) == []

    @pytest.mark.parametrize("crash", [False, True])
    def test_a_live_file_is_stored_however_its_block_ends(self, storage: Storage, crash: bool) -> None:
        block: AbstractContextManager[object] = pytest.raises(ValueError) if crash else pytest.MonkeyPatch.context()
        with block, storage.live_file("job_a/attempts/1.log") as path, path.open("ab") as log:
            log.write(b"started\n")
            if crash:
                raise ValueError
        assert storage.read_bytes("job_a/attempts/1.log") == b"started\n"


class TestCopying:
    """A copy is a file of its own."""

    def test_a_copy_outlives_its_source(self, storage: Storage) -> None:
        stored = storage.put_bytes("job_a/deep/x.bin", b"abc")
        storage.copy("job_a/deep/x.bin", "job_b/checkpoints/y.bin")
        storage.delete_prefix("job_a")
        storage.verify("job_b/checkpoints/y.bin", stored.bytes, stored.sha256)

    def test_a_new_file_leaves_the_copies_of_the_old_one(self, storage: Storage) -> None:
        storage.put_bytes("job_a/x.bin", b"old")
        storage.copy("job_a/x.bin", "job_b/x.bin")
        storage.put_bytes("job_a/x.bin", b"new")
        assert storage.read_bytes("job_b/x.bin") == b"old"

    def test_a_copy_replaces_what_was_there(self, storage: Storage) -> None:
        for name in ("x", "y"):
            storage.put_bytes(f"job_a/{name}", name.encode())
        for _ in range(2):
            storage.copy("job_a/x", "job_a/y")
            assert storage.read_bytes("job_a/y") == b"x"
        assert storage.list_keys(unfinished=True) == ["job_a/x", "job_a/y"]

    def test_a_missing_file_cannot_be_copied(self, storage: Storage) -> None:
        with pytest.raises(ArtifactLostError, match="gone"):
            storage.copy("job_a/none", "job_b/x")
        assert not storage.exists("job_b/x") and storage.list_keys(unfinished=True) == []


class TestReading:
    """Files are what the record says, or are refused."""

    @pytest.mark.parametrize(
        ("start", "stop"), [(0, None), (2, 4), (3, 3), (5, 100), (100, 200), (-3, None), (-100, None), (-3, 9)]
    )
    def test_a_range(self, storage: Storage, start: int, stop: int | None) -> None:
        data = b"0123456789"
        storage.put_bytes("job_a/x", data)
        assert storage.read_range("job_a/x", start, stop) == data[start:stop]

    def test_a_range_of_an_empty_file_is_empty(self, storage: Storage) -> None:
        storage.put_bytes("job_a/x", b"")
        assert storage.read_range("job_a/x", -8192) == b"" and storage.read_range("job_a/x", 0, 1) == b""

    def test_an_open_file_is_read_in_pieces(self, storage: Storage) -> None:
        storage.put_bytes("job_a/x", b"abcdef")
        with storage.open("job_a/x") as file:
            assert (file.read(2), file.read(3), file.read(), file.read()) == (b"ab", b"cde", b"f", b"")

    def test_a_local_path_has_the_files_bytes(self, storage: Storage) -> None:
        storage.put_bytes("job_a/x.pt", b"abc")
        with storage.local_path("job_a/x.pt") as path:
            assert path.read_bytes() == b"abc" and path.stat().st_size == 3

    def test_a_local_folder_without_files_has_none(self, storage: Storage) -> None:
        with storage.local_folder("ds_a/1") as folder:
            assert not folder.exists() or not list(folder.iterdir())

    @pytest.mark.parametrize("damage", [b"", b"ab", b"abd", b"abcd"])
    def test_a_file_that_is_not_what_was_written_is_refused(self, storage: Storage, damage: bytes) -> None:
        written = storage.put_bytes("job_a/x.bin", b"abc")
        storage.put_bytes("job_a/x.bin", damage)
        with pytest.raises(ArtifactLostError, match=r"job_a/x\.bin is not what was written"):
            storage.verify(written.key, written.bytes, written.sha256)

    @pytest.mark.parametrize(
        "read",
        [
            lambda storage: storage.read_bytes("job_a/none"),
            lambda storage: storage.read_range("job_a/none", 0, 1),
            lambda storage: storage.open("job_a/none"),
            lambda storage: storage.describe("job_a/none"),
            lambda storage: storage.verify("job_a/none", 0, sha256(b"")),
            lambda storage: storage.local_path("job_a/none").__enter__(),
            lambda storage: storage.read_bytes("job_a"),
            lambda storage: storage.describe("job_a"),
        ],
    )
    def test_a_missing_file_has_a_sentence(self, storage: Storage, read: Callable[[Storage], object]) -> None:
        storage.put_bytes("job_a/other", b"")
        with pytest.raises(ArtifactLostError, match=r"job_a.* is gone"):
            read(storage)
        assert not storage.exists("job_a/none") and not storage.exists("job_a")


class TestListing:
    """Prefixes are folders."""

    def test_keys_below_a_prefix(self, storage: Storage) -> None:
        for key in ("b/2", "a/c/1", "a/b", "a.x/1", "ab/1"):
            storage.put_bytes(key, b"")
        assert storage.list_keys("a") == ["a/b", "a/c/1"]
        assert storage.list_keys() == ["a.x/1", "a/b", "a/c/1", "ab/1", "b/2"]
        assert storage.list_keys("none") == [] and storage.list_keys("a/b/c") == []

    def test_folders_below_a_prefix(self, storage: Storage) -> None:
        assert storage.folders() == []
        for key in ("b/x/1", "b/y/1", "a/1", "0"):
            storage.put_bytes(key, b"")
        assert storage.folders() == ["a", "b"]
        assert storage.folders("b") == ["x", "y"] and storage.folders("a") == [] == storage.folders("none")

    def test_unfinished_files_are_listed_only_when_asked_for(self, storage: Storage) -> None:
        storage.put_bytes("job_a/x.1.pt", b"")
        with storage.writing("job_a/y.1.pt") as out, storage.scratch_folder("job_a/z") as folder:
            out.write(b"half")
            (folder / "f").write_bytes(b"half")
            assert storage.list_keys("job_a") == ["job_a/x.1.pt"] and storage.folders("job_a") == []
            for key in storage.list_keys("job_a", unfinished=True):
                assert key.startswith(("job_a/x.1.pt", "job_a/y.1.pt", "job_a/z"))

    def test_a_writer_whose_unfinished_file_is_deleted_is_told(self, storage: Storage) -> None:
        storage.put_bytes("job_a/x.bin", b"old")
        with pytest.raises(FileNotFoundError), storage.writing("job_a/x.bin") as out:
            out.write(b"new")
            for key in storage.list_keys("job_a", unfinished=True):
                if key != "job_a/x.bin":
                    storage.delete(key)
        assert storage.read_bytes("job_a/x.bin") == b"old"
        assert storage.list_keys("job_a", unfinished=True) == ["job_a/x.bin"]

    def test_deleting(self, storage: Storage) -> None:
        for key in ("a/1", "a/b/2", "ab/1"):
            storage.put_bytes(key, b"")
        storage.delete("a/1")
        storage.delete("a/1")
        assert storage.list_keys() == ["a/b/2", "ab/1"]
        storage.delete_prefix("a")
        storage.delete_prefix("a")
        assert storage.list_keys() == ["ab/1"] and storage.folders() == ["ab"]

    def test_a_sweep_deletes_what_is_unfinished_and_nothing_else(self, storage: Storage) -> None:
        storage.put_bytes("job_a/x.bin", b"abc")
        with (
            pytest.raises(FileNotFoundError),
            storage.scratch_folder("job_a/z") as folder,
            storage.writing("job_a/y.bin") as out,
        ):
            out.write(b"half")
            (folder / "f").write_bytes(b"half")
            storage.sweep_unfinished("job_a")
            storage.sweep_unfinished("none")
            assert storage.list_keys("job_a", unfinished=True) == ["job_a/x.bin"]
        assert storage.read_bytes("job_a/x.bin") == b"abc"

    def test_the_time_of_the_last_write_below_a_prefix(self, storage: Storage) -> None:
        before = time.time() - 2
        storage.put_bytes("job_a/deep/x", b"")
        assert before < storage.modified_at("job_a") < time.time() + 2
        assert before < storage.modified_at("none") < time.time() + 2

    def test_orphans_are_old_folders_that_no_row_owns(self, storage: Storage) -> None:
        gone, known, born = (new_id("job") for _ in range(3))
        for name in (gone, known, "other"):
            storage.within("artifacts/acme").put_bytes(f"{name}/x", b"")

        def on_record() -> set[str]:
            # A job is created between the listing and the look into the database.
            storage.within("artifacts/acme").put_bytes(f"{born}/x", b"")
            return {known}

        assert find_orphans(storage, "artifacts", "job", on_record, 60) == [], "what is young may be in the making"
        storage.within("artifacts/acme").delete_prefix(born)
        assert find_orphans(storage, "artifacts", "job", on_record, -60) == [("acme", gone)]
        assert find_orphans(storage, "datasets", "ds", set, -60) == []


class TestParts:
    """A tenant's part of the store."""

    def test_files_of_tenants_are_apart(self, storage: Storage) -> None:
        mine, other = storage.artifacts("acme"), storage.artifacts("umbrella")
        mine.put_bytes("job_a/x", b"mine")
        storage.datasets("acme").put_bytes("ds_a/x", b"data")
        assert not other.exists("job_a/x") and other.list_keys() == []
        assert mine.list_keys() == ["job_a/x"] and mine.folders() == ["job_a"]
        assert storage.list_keys() == ["artifacts/acme/job_a/x", "datasets/acme/ds_a/x"]
        assert storage.folders("artifacts") == ["acme"]

    @pytest.mark.parametrize("key", ["../x", "/etc/passwd", "job_a/../../x", "job_a/.."])
    def test_a_key_never_leaves_its_part(self, storage: Storage, key: str) -> None:
        mine = storage.artifacts("acme")
        for use in (mine.exists, mine.open, mine.delete, mine.delete_prefix, mine.list_keys, mine.within):
            with pytest.raises(AssertionError):
                use(key)
        with pytest.raises(AssertionError):
            mine.put_bytes(key, b"")


class TestOperation:
    """What sandboxes, the command `doctor` and the writers of large files ask."""

    def test_a_sandboxed_writer_gets_a_folder(self, storage: Storage) -> None:
        folder = storage.artifacts("acme").writable_folder("job_a")
        assert folder.is_absolute() and folder.is_dir()
        with storage.artifacts("acme").scratch_file("job_a/x") as path:
            assert folder in path.parents, "or a sandbox would refuse the write"

    def test_the_room_that_is_left(self, storage: Storage) -> None:
        assert storage.artifacts("acme").free_bytes() > 0

    def test_the_check_changes_nothing(self, storage: Storage) -> None:
        storage.put_bytes("x", b"")
        works, detail = storage.check()
        assert isinstance(works, bool) and detail and storage.list_keys() == ["x"]

    def test_an_upgrade_keeps_what_is_there(self, storage: Storage) -> None:
        storage.artifacts("default").put_bytes("job_a/x", b"abc")
        for _ in range(2):
            storage.upgrade("default")
        assert storage.list_keys() == ["artifacts/default/job_a/x"]
