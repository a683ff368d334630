"""The exit codes of a trainer, and the failures of its job that follow from them."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from jobs.storage.disk import DiskStorage
from worker.exits import FAILURES, Exit, Failure, leave_note, leave_reason, read_note, read_reason, unexpected_end
from worker.tail import last_line

# The values of `error.code` of a failed job.
CODES = {
    "diverged",
    "out_of_memory",
    "dataset_invalid",
    "checkpoint_corrupt",
    "worker_lost",
    "max_attempts_exceeded",
    "max_runtime_exceeded",
    "disk_full",
    "internal",
}


def test_every_failure_has_a_code_of_the_contract_and_a_hint() -> None:
    assert set(FAILURES) == set(Exit) - {Exit.SUCCEEDED, Exit.STOPPED_EARLY, Exit.STOPPED}
    assert {failure.code for failure in FAILURES.values()} <= CODES
    assert all(failure.hint for failure in FAILURES.values())


def test_a_note_is_read_as_it_was_written(tmp_path: Path) -> None:
    files, said = DiskStorage(tmp_path), Failure("diverged", "At step 3.", False, step=3, hint="Lower it.")
    leave_note(files, "job/outcome.json", said)
    assert read_note(files, "job/outcome.json", Exit.DIVERGED) == said


@pytest.mark.parametrize("content", [None, b"", b"[]", b'{"code": 1}', b"\xff"])
def test_without_a_readable_note_the_failure_follows_from_the_exit_code(
    tmp_path: Path, content: bytes | None
) -> None:
    files = DiskStorage(tmp_path)
    if content is not None:
        files.put_bytes("job/outcome.json", content)
    assert read_note(files, "job/outcome.json", Exit.DISK_FULL) == FAILURES[Exit.DISK_FULL]


def test_the_reason_of_an_early_stop_is_read_as_it_was_written(tmp_path: Path) -> None:
    files = DiskStorage(tmp_path)
    leave_reason(files, "job/outcome.json", "The best evaluation is long past.")
    reason = {"code": "stopped_early", "message": "The best evaluation is long past."}
    assert read_reason(files, "job/outcome.json") == reason


@pytest.mark.parametrize("content", [None, b"", b"\xff"])
def test_without_a_readable_reason_there_is_a_general_one(tmp_path: Path, content: bytes | None) -> None:
    files = DiskStorage(tmp_path)
    if content is not None:
        files.put_bytes("job/outcome.json", content)
    assert "safeguards" in read_reason(files, "job/outcome.json")["message"]


def test_an_end_by_a_signal_names_the_signal_and_the_last_log_line() -> None:
    killed = unexpected_end(-signal.SIGKILL, "step 12")
    assert "SIGKILL" in killed.message and "step 12" in killed.message and "memory" in (killed.hint or "")
    assert "code 3" in unexpected_end(3, "").message and "logged nothing" in unexpected_end(3, "").message


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", ""),
        ("\n\n", ""),
        ("first\nlast\n\n", "last"),
        ('{"event": "checkpoint saved", "level": "info"}\n', "checkpoint saved"),
        ("OSError: no file /srv/data/job_1/x.pt, sorry", "OSError: no file <path>, sorry"),
        ("a" * 9000, "a" * 300),
        ("tab\there \x1b[31mred", "tab here  [31mred"),
    ],
)
def test_the_last_line_of_a_log_is_cleaned_for_display(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "log").write_text(content)
    assert last_line(DiskStorage(tmp_path), "log") == said


def test_without_a_log_the_last_line_is_empty(tmp_path: Path) -> None:
    assert last_line(DiskStorage(tmp_path), "none") == ""
