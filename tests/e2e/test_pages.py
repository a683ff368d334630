"""README and docs, block by block, against one `gantry up` and as few steps as will do, as a new user would."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from PIL import Image

from benchmarks import clothes, curves_page, session
from gantry.client import Client
from tests.e2e.pages import IN_PYTHON, SHORTER, CodeBlock, blocks, changed
from tests.e2e.terminal import PLAIN, SIXEL, on_terminal
from tests.ports import free_port

# One service, one worker: whoever runs these tests runs all of them.
pytestmark = [pytest.mark.xdist_group("pages"), pytest.mark.timeout(600)]

BIN: Final = Path(sys.executable).parent


@dataclass(frozen=True)
class House:
    """A running service, and a folder for whoever tries it."""

    url: str
    folder: Path

    def place(self, name: str) -> Path:
        """A folder of one's own, with images in it."""
        made = self.folder / name
        made.mkdir()
        clothes.zipped(made / f"{name}.zip", 8, classes=10)
        return made

    def shortened(self, text: str, changes: dict[str, str]) -> str:
        at = self.url.removeprefix("http://")
        return changed(text, {before: after.replace("{at}", at) for before, after in changes.items()})

    @property
    def environment(self) -> dict[str, str]:
        path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
        return {**os.environ, "GANTRY_URL": self.url, "PATH": path, "MPLBACKEND": "Agg", "COLUMNS": "100"}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder, port = tmp_path_factory.mktemp("pages"), free_port()
    log = (folder / "up.log").open("wb")
    argv = [str(BIN / "gantry"), "up", "--port", str(port), "--data", str(folder / "data")]
    up = subprocess.Popen(argv, stdout=log, stderr=log, env={**os.environ, "GANTRY_TRAINER_THREADS": "1"})
    try:
        _wait_until_ready(folder / "up.log", up)
        yield House(f"http://127.0.0.1:{port}", folder)
    finally:
        up.send_signal(signal.SIGINT)
        assert up.wait(timeout=120) == 0, (folder / "up.log").read_text()[-3000:]
    for _ in range(100):
        if not (left := _processes_of(folder)):
            break
        time.sleep(0.1)  # what was killed is gone a moment later
    assert left == []


def shell(house: House, page: str, folder: Path) -> str:
    """Run the shell blocks of a page, in order, in one shell; what they printed."""
    written = {block.file: block.text for block in blocks(page, "yaml") if block.file}
    lines = "".join(block.text for block in blocks(page, "sh"))
    # In one go, so that a change that is none is noticed.
    text = house.shortened("\0".join([lines, *written.values()]), SHORTER[page])
    lines, *bodies = text.split("\0")
    for name, body in zip(written, bodies, strict=True):
        (folder / name).write_text(body)
    script = "set -euo pipefail\n" + lines
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=house.environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def run_python(house: House, page: str, changes: dict[str, str]) -> dict[str, Any]:
    """Run the Python blocks of a page, one after the other; the names that they leave."""
    names: dict[str, Any] = {}
    for block in blocks(page, "python"):
        here = {before: after for before, after in changes.items() if before in block.text}
        # Each line where it stands in the page, so that an error names it.
        text = "\n" * (block.line - 1) + house.shortened(block.text, here)
        exec(compile(text, page, "exec"), names)
    return names


def test_the_curl_lines_of_readme_work_as_written(house: House) -> None:
    assert shutil.which("curl"), "README speaks to people who have curl; so must this machine"
    folder = house.place("readme")
    said = shell(house, "README.md", folder)
    assert Image.open(folder / "sneakers.png").size[0] > 8 * 28
    assert Image.open(folder / "loss.png").format == "PNG"
    assert Image.open(folder / "previews.gif").format == "GIF"
    assert '"Sneaker"' in said and '"loss_d"' in said


def test_the_quick_start_leads_from_nothing_to_images_of_ones_own(house: House) -> None:
    folder = house.place("shoes")
    said = shell(house, "docs/quickstart.md", folder)
    assert "succeeded at step 20" in said and "Verdict: " in said
    assert Image.open(folder / "sneakers.png").size[0] > 8 * 28
    assert Image.open(folder / "learning.gif").format == "GIF"
    assert {"samples.png", "weights.safetensors", "metrics.csv"} <= {p.name for p in (folder / "shoes-run").iterdir()}


def test_the_api_by_example(house: House) -> None:
    folder = house.place("api")
    said = shell(house, "docs/api.md", folder)
    for part in (
        "/total_stepz",
        "event: job.status",
        "event: stream.end",
        "'last_step'",
        "'Ankle boot'",
        "gantry_jobs",
    ):
        assert part in said, part
    assert Image.open(folder / "sneakers.png").size[0] > 8 * 28
    assert (folder / "checkpoint.pt").stat().st_size == 1024


def test_the_lines_on_operating_work_and_a_backup_is_a_whole_record(house: House) -> None:
    folder = house.place("operating")
    (folder / "gantry-data").symlink_to(house.folder / "data")
    said = shell(house, "docs/operating.md", folder)
    assert "gantry_database_up 1.0" in said and "The schema is current." in said
    assert (folder / "backup" / "gantry.db").stat().st_size > 0


def test_the_lines_of_readme_in_python_work(house: House) -> None:
    names = run_python(house, "README.md", {**IN_PYTHON, '"total_steps": 2000': '"total_steps": 20'})
    assert len(names["steps"]) == len(names["loss_d"]) == 20 and names["sneaker"].size == (28, 28)


def test_the_notebook_of_the_client(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = house.place("python")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    names = run_python(house, "docs/python.md", IN_PYTHON)
    assert names["job"]["status"] == "succeeded" and len(names["steps"]) == 40
    assert [sample.label for sample in names["drawn"]] == ["Sneaker"] * 4 + ["Bag"] * 4
    assert [sample.seed for sample in names["drawn"]] == [7, 8, 9, 10] * 2
    assert names["held"]["images"].shape == (20, 28, 28, 1) and names["film"][0].step == 0
    assert Image.open(folder / "losses.png").format == "PNG"


@pytest.mark.parametrize("block", blocks("docs/presets.md", "yaml"), ids=lambda block: block.file)
def test_the_bodies_of_the_guide_to_presets_are_taken(house: House, block: CodeBlock) -> None:
    with Client(house.url) as client:
        assert client.submit(yaml.safe_load(block.text), dry_run=True)["estimate"]["generator_parameters"] > 0


def test_the_session_can_be_recorded_again(house: House) -> None:
    folder = house.place("clothes")
    recorded = session.Session(house.url, folder)
    session.play(recorded, 20)
    text = session.page(recorded.said, 8)
    known = (session.PAGE).read_text(encoding="utf-8")
    for said in recorded.said:
        assert said.about in known, "docs/session.md is older than its script: `make session`"
    assert "succeeded at step 20" in text and text.count("$ echo $?\n1\n") == 2, "cancelled, and refused"


def test_the_pictures_of_the_page_on_curves_can_be_made_again(house: House) -> None:
    folder = house.place("curves")
    with Client(house.url) as client:
        curves_page.run(client, ["healthy"], 12, folder)
    seen = json.loads((folder / "seen.json").read_text(encoding="utf-8"))
    assert [(job["job"], job["steps"]) for job in seen] == [("healthy", 12)] and "loss_d" in seen[0]["last"]
    assert Image.open(folder / "healthy-losses.png").size == (960, 540)
    assert Image.open(folder / "healthy.png").size[0] > 6 * 28


@pytest.fixture(scope="module")
def job(house: House) -> str:
    """A job that has ended."""
    with Client(house.url) as client:
        body = {"dataset": "fashion-mnist-mini", "total_steps": 10, "evaluation": {"enabled": False}}
        made = client.wait(client.submit(body)["id"], seconds=300)
    assert made["status"] == "succeeded", made
    return str(made["id"])


def test_a_terminal_shows_samples_and_curves_in_pixels_where_it_can(house: House, job: str) -> None:
    for words in (["samples", job, "-n", "2"], ["curves", job], ["previews", job]):
        code, screen = on_terminal(words, house.environment, SIXEL)
        assert code == 0 and b"\x1bP" in screen, screen[-500:]
    assert list(house.folder.glob("*.png")) == []


def test_a_terminal_without_pixels_gets_half_blocks_and_the_names_of_the_classes(house: House, job: str) -> None:
    code, screen = on_terminal(["samples", job, "-n", "4"], house.environment, PLAIN)
    text = screen.decode()
    assert code == 0 and "Sneaker" in text and "\x1bP" not in text
    # Four images of 28 pixels and the gaps between them are wider than 100 columns.
    assert text.count("▀") == 100 * 10 * math.ceil(round(28 * 100 / 115 / 2))
    code, screen = on_terminal(["curves", job], house.environment, PLAIN)
    assert code == 0 and "▀" in screen.decode() and "loss_d" in screen.decode()


def test_who_has_no_terminal_gets_a_file_and_may_ask_for_half_blocks(house: House, job: str) -> None:
    folder = house.place("piped")
    for words, file in (("samples", "samples.png"), ("curves", "loss.png"), ("previews", "learning.gif")):
        assert _gantry(house, folder, words, job).stdout == f"{file}\n"
        assert Image.open(folder / file).size[0] > 28
    shown = _gantry(house, folder, "samples", job, "--label", "Bag", "-o", "bag.png", "--show").stdout
    assert shown.startswith("bag.png\n") and "▀" in shown and (folder / "bag.png").exists()


def test_which_images_they_are_is_told_without_drawing_them(house: House, job: str) -> None:
    told = json.loads(_gantry(house, house.folder, "samples", job, "--label", "Bag", "-n", "2", "--json").stdout)
    assert [(image["label"], image["seed"]) for image in told["images"]] == [("Bag", 0), ("Bag", 1)]
    refused = _gantry(house, house.folder, "samples", job, "--json", "-o", "a.png")
    assert refused.returncode == 2 and "--json" in refused.stderr


def test_the_generator_is_fetched(house: House, job: str) -> None:
    folder = house.place("weights")
    assert _gantry(house, folder, "weights", job).stdout == "generator.safetensors\n"
    assert (folder / "generator.safetensors").stat().st_size > 10_000
    refused = _gantry(house, folder, "weights", job, "--checkpoint", "ckpt_0")
    assert refused.returncode == 1 and len(refused.stderr.splitlines()) == 1


def _gantry(house: House, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    argv = [str(BIN / "gantry"), *words]
    return subprocess.run(argv, cwd=folder, env=house.environment, capture_output=True, text=True, check=False)


def _wait_until_ready(log: Path, up: subprocess.Popen[bytes]) -> None:
    """`gantry up` says where it is once all of it is there, the sampler too."""
    for _ in range(2400):
        if "Gantry is at" in log.read_text():
            return
        assert up.poll() is None, log.read_text()
        time.sleep(0.1)
    raise AssertionError(log.read_text())


def _processes_of(folder: Path) -> list[str]:
    """Command lines of processes whose environment names `folder`: what a stopped service must not leave."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(folder / "data").encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except (PermissionError, FileNotFoundError, ProcessLookupError):
            continue
    return found
