"""`gantry datasets` with a running service that validates uploads."""

from __future__ import annotations

import io
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from gantry.client import Client, Json
from gantry.endpoints import datasets
from gantry.terminal.datasets import follow, upload_progress
from jobs.relay.validation import UploadValidator
from jobs.runtime.settings import Settings
from tests.gan.uploads.zips import broken, files, write
from tests.gantry.command import gantry

CLASSES = files("bag", "shoe", size=(20, 20))


@pytest.fixture
def validating(served: Settings) -> Iterator[Settings]:
    """Yield a service, and a thread that validates uploads."""
    stop = threading.Event()
    thread = UploadValidator(served, stop)
    thread.start()
    yield served
    stop.set()
    thread.join(timeout=60)
    assert not thread.is_alive()


def test_a_data_set_is_added_listed_shown_and_deleted(validating: Settings, tmp_path: Path) -> None:
    zipped = write(tmp_path / "my shoes.zip", CLASSES)
    done = gantry("datasets", "add", str(zipped), "--size", "16", settings=validating)
    assert done.returncode == 0, done.stderr
    assert "my shoes" in done.stdout and "72 images of 16 x 16 RGB, and 8 held out" in done.stdout
    assert "central square" in done.stdout and "shoe: 36" in done.stdout
    shown = json.loads(gantry("datasets", "show", "my shoes", "--json", settings=validating).stdout)
    assert shown["status"] == "ready"
    listed = gantry("datasets", "list", settings=validating).stdout
    assert shown["id"] in listed and "fashion-mnist-mini" in listed
    again = gantry("datasets", "add", str(zipped), settings=validating)
    assert again.returncode == 1 and "A data set named 'my shoes' already exists" in again.stderr
    assert gantry("datasets", "delete", "my shoes", settings=validating).stdout == "my shoes is deleted.\n"
    gone = gantry("datasets", "show", "my shoes", settings=validating)
    assert gone.returncode == 1 and "There is no data set 'my shoes'." in gone.stderr


def test_a_folder_is_uploaded_as_a_zip(validating: Settings, tmp_path: Path) -> None:
    for name, content in CLASSES.items():
        (tmp_path / "my.bags" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "my.bags" / name).write_bytes(content)
        os.utime(
            tmp_path / "my.bags" / name, (0, 0)
        )  # some archive tools do this; a zip cannot store times before 1980
    done = gantry("datasets", "add", str(tmp_path / "my.bags"), "--size", "16", settings=validating)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("my.bags (ds_") and "shoe: 36" in done.stdout
    assert json.loads(gantry("datasets", "delete", "my.bags", "--json", settings=validating).stdout)["deleted"]


def test_a_refusal_names_every_file_and_is_exit_1(validating: Settings, tmp_path: Path) -> None:
    odd = write(tmp_path / "odd.zip", {**CLASSES, "notes.txt": b"x", "bag/a.gif": b"x"})
    done = gantry("datasets", "add", str(odd), settings=validating)
    assert done.returncode == 1 and "notes.txt" in done.stderr and "bag/a.gif" in done.stderr
    ill = write(tmp_path / "ill.zip", {**CLASSES, "bag/broken.png": broken()})
    done = gantry("datasets", "add", str(ill), settings=validating)
    assert done.returncode == 1 and "ill" in done.stdout and "corrupt-image: 'bag/broken.png'" in done.stdout
    gantry("datasets", "delete", "ill", settings=validating)


def test_a_file_of_a_folder_that_cannot_be_sent_is_named(tmp_path: Path) -> None:
    (tmp_path / "shoes").mkdir()
    Path(os.fsdecode(bytes(tmp_path / "shoes") + b"/caf\xe9.png")).write_bytes(b"x")
    done = gantry("datasets", "add", str(tmp_path / "shoes"))
    assert done.returncode == 2 and r"caf\xe9.png: its name is not UTF-8" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_file_is_named(served: Settings) -> None:
    done = gantry("datasets", "add", "nowhere.zip", settings=served)
    assert done.returncode == 2 and "nowhere.zip" in done.stderr and "No such file" in done.stderr


class ClientOfStates(Client):
    """A client that reports a data set in the given states, one after the other."""

    def __init__(self, *states: Json) -> None:
        super().__init__("http://127.0.0.1:9")
        self._states = iter(states)

    def dataset(self, name_or_id: str) -> Json:
        return next(self._states)


def test_the_progress_line_has_phase_and_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "_POLL_SECONDS", 0.15)
    begun: Json = {"id": "ds_1", "status": "validating", "preparation": None, "progress": None}
    checking = {**begun, "progress": {"phase": "checking", "done": 1234, "total": 5678}}
    planned = {**checking, "preparation": {"words": "Each image is cropped."}}
    screen = Console(file=io.StringIO(), force_terminal=True, width=100)
    with ClientOfStates(checking, planned, planned, {**begun, "status": "ready"}) as client:
        assert follow(client, begun, screen)["status"] == "ready"
    text = screen.file.getvalue()  # type: ignore[attr-defined]
    assert "1,234/5,678 images" in text and text.count("Each image is cropped.") == 1


def test_an_upload_shows_its_progress() -> None:
    screen = Console(file=io.StringIO(), force_terminal=True, width=100)
    with upload_progress(screen, io.BytesIO(b"abc"), 3) as wrapped:
        assert wrapped.read() == b"abc"
    assert "uploading" in screen.file.getvalue()  # type: ignore[attr-defined]
