"""Run the code of README.md and docs/, block by block, against one `gantry up`, with few training steps."""

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
from gantry import Client
from tests.e2e.pages import IN_PYTHON, SHORTER, CodeBlock, blocks, changed
from tests.e2e.terminal import PLAIN, SIXEL, on_terminal
from tests.ports import free_port

# One service with one worker serves all of these tests, so one test process runs all of them.
pytestmark = [pytest.mark.xdist_group("pages"), pytest.mark.timeout(600)]

BIN: Final = Path(sys.executable).parent


@dataclass(frozen=True)
class RunningService:
    """A running service, and a folder for the tests."""

    url: str
    folder: Path

    def make_folder(self, name: str) -> Path:
        """Make a new folder with a zip of images in it, and return its path."""
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
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    folder, port = tmp_path_factory.mktemp("pages"), free_port()
    log = (folder / "up.log").open("wb")
    argv = [str(BIN / "gantry"), "up", "--port", str(port), "--data", str(folder / "data")]
    up = subprocess.Popen(argv, stdout=log, stderr=log, env={**os.environ, "GANTRY_TRAINER_THREADS": "1"})
    try:
        _wait_until_ready(folder / "up.log", up)
        yield RunningService(f"http://127.0.0.1:{port}", folder)
    finally:
        up.send_signal(signal.SIGINT)
        assert up.wait(timeout=120) == 0, (folder / "up.log").read_text()[-3000:]
    for _ in range(100):
        if not (left := _processes_of(folder)):
            break
        time.sleep(0.1)  # a killed process takes a moment to disappear
    assert left == []


def shell(service: RunningService, page: str, folder: Path) -> str:
    """Run the shell blocks of a page, in order, in one shell. Return what they print."""
    written = {block.file: block.text for block in blocks(page, "yaml") if block.file}
    lines = "".join(block.text for block in blocks(page, "sh"))
    # All texts together, so that `changed` notices a change that applies to none of them.
    text = service.shortened("\0".join([lines, *written.values()]), SHORTER[page])
    lines, *bodies = text.split("\0")
    for name, body in zip(written, bodies, strict=True):
        (folder / name).write_text(body)
    script = "set -euo pipefail\n" + lines
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=service.environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def run_python(service: RunningService, page: str, changes: dict[str, str]) -> dict[str, Any]:
    """Run the Python blocks of a page, one after the other. Return the names that they define."""
    names: dict[str, Any] = {}
    for block in blocks(page, "python"):
        here = {before: after for before, after in changes.items() if before in block.text}
        # Empty lines before it, so that an error names the line of the page.
        text = "\n" * (block.line - 1) + service.shortened(block.text, here)
        exec(compile(text, page, "exec"), names)
    return names


def test_the_curl_lines_of_readme_work_as_written(service: RunningService) -> None:
    assert shutil.which("curl"), "README.md uses curl: install it to run this test"
    folder = service.make_folder("readme")
    output = shell(service, "README.md", folder)
    assert Image.open(folder / "sneakers.png").size[0] > 8 * 28
    assert Image.open(folder / "loss.png").format == "PNG"
    assert Image.open(folder / "previews.gif").format == "GIF"
    assert '"Sneaker"' in output and '"loss_d"' in output


def test_the_quick_start_works_as_written(service: RunningService) -> None:
    folder = service.make_folder("shoes")
    output = shell(service, "docs/quickstart.md", folder)
    assert "succeeded at step 20" in output and "Verdict: " in output
    assert Image.open(folder / "sneakers.png").size[0] > 8 * 28
    assert Image.open(folder / "learning.gif").format == "GIF"
    assert {"samples.png", "weights.safetensors", "metrics.csv"} <= {p.name for p in (folder / "shoes-run").iterdir()}


def test_the_api_by_example(service: RunningService) -> None:
    folder = service.make_folder("api")
    output = shell(service, "docs/api.md", folder)
    for part in (
        "/total_stepz",
        "event: job.status",
        "event: stream.end",
        "'last_step'",
        "'Ankle boot'",
        "gantry_jobs",
    ):
        assert part in output, part
    assert Image.open(folder / "sneakers.png").size[0] > 8 * 28
    assert (folder / "checkpoint.pt").stat().st_size == 1024


def test_the_lines_on_operating_work_and_make_a_whole_backup(service: RunningService) -> None:
    folder = service.make_folder("operating")
    (folder / "gantry-data").symlink_to(service.folder / "data")
    output = shell(service, "docs/operating.md", folder)
    assert "gantry_database_up 1.0" in output and "The schema is current." in output
    assert (folder / "backup" / "gantry.db").stat().st_size > 0


def test_the_lines_of_readme_in_python_work(service: RunningService) -> None:
    names = run_python(service, "README.md", {**IN_PYTHON, '"total_steps": 2000': '"total_steps": 20'})
    assert len(names["steps"]) == len(names["loss_d"]) == 20 and names["sneaker"].size == (28, 28)


def test_the_notebook_of_the_client(service: RunningService, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = service.make_folder("python")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    names = run_python(service, "docs/python.md", IN_PYTHON)
    assert names["job"]["status"] == "succeeded" and len(names["steps"]) == 40
    assert [sample.label for sample in names["drawn"]] == ["Sneaker"] * 4 + ["Bag"] * 4
    assert [sample.seed for sample in names["drawn"]] == [7, 8, 9, 10] * 2
    assert names["held"]["images"].shape == (20, 28, 28, 1) and names["film"][0].step == 0
    assert Image.open(folder / "losses.png").format == "PNG"


@pytest.mark.parametrize("block", blocks("docs/presets.md", "yaml"), ids=lambda block: block.file)
def test_the_bodies_in_the_guide_to_presets_are_accepted(service: RunningService, block: CodeBlock) -> None:
    with Client(service.url) as client:
        assert client.submit(yaml.safe_load(block.text), dry_run=True)["estimate"]["generator_parameters"] > 0


def test_the_session_can_be_recorded_again(service: RunningService) -> None:
    folder = service.make_folder("clothes")
    recorded = session.Session(service.url, folder)
    session.play(recorded, 20)
    text = session.page(recorded.said, 8)
    known = (session.PAGE).read_text(encoding="utf-8")
    for said in recorded.said:
        assert said.about in known, "docs/session.md is older than its script: `make session`"
    assert "succeeded at step 20" in text and text.count("$ echo $?\n1\n") == 2, "cancelled, and refused"


def test_the_pictures_of_the_page_on_curves_can_be_made_again(service: RunningService) -> None:
    folder = service.make_folder("curves")
    with Client(service.url) as client:
        curves_page.run(client, ["healthy"], 12, folder)
    seen = json.loads((folder / "seen.json").read_text(encoding="utf-8"))
    assert [(job["job"], job["steps"]) for job in seen] == [("healthy", 12)] and "loss_d" in seen[0]["last"]
    assert Image.open(folder / "healthy-losses.png").size == (960, 540)
    assert Image.open(folder / "healthy.png").size[0] > 6 * 28


@pytest.fixture(scope="module")
def job(service: RunningService) -> str:
    """Return the id of a job that has ended."""
    with Client(service.url) as client:
        body = {"dataset": "fashion-mnist-mini", "total_steps": 10, "evaluation": {"enabled": False}}
        made = client.wait(client.submit(body)["id"], seconds=300)
    assert made["status"] == "succeeded", made
    return str(made["id"])


def test_a_terminal_shows_samples_and_curves_in_pixels_where_it_can(service: RunningService, job: str) -> None:
    for words in (["samples", job, "-n", "2"], ["curves", job], ["previews", job]):
        code, screen = on_terminal(words, service.environment, SIXEL)
        assert code == 0 and b"\x1bP" in screen, screen[-500:]
    assert list(service.folder.glob("*.png")) == []


def test_a_terminal_without_pixels_gets_half_blocks_and_class_names(service: RunningService, job: str) -> None:
    code, screen = on_terminal(["samples", job, "-n", "4"], service.environment, PLAIN)
    text = screen.decode()
    assert code == 0 and "Sneaker" in text and "\x1bP" not in text
    # Four images of 28 pixels and the gaps between them are wider than 100 columns.
    assert text.count("▀") == 100 * 10 * math.ceil(round(28 * 100 / 115 / 2))
    code, screen = on_terminal(["curves", job], service.environment, PLAIN)
    assert code == 0 and "▀" in screen.decode() and "loss_d" in screen.decode()


def test_a_pipe_gets_a_file_and_half_blocks_on_request(service: RunningService, job: str) -> None:
    folder = service.make_folder("piped")
    for words, file in (("samples", "samples.png"), ("curves", "loss.png"), ("previews", "learning.gif")):
        assert _gantry(service, folder, words, job).stdout == f"{file}\n"
        assert Image.open(folder / file).size[0] > 28
    shown = _gantry(service, folder, "samples", job, "--label", "Bag", "-o", "bag.png", "--show").stdout
    assert shown.startswith("bag.png\n") and "▀" in shown and (folder / "bag.png").exists()


def test_json_lists_the_images_without_drawing_them(service: RunningService, job: str) -> None:
    done = _gantry(service, service.folder, "samples", job, "--label", "Bag", "-n", "2", "--json")
    manifest = json.loads(done.stdout)
    assert [(image["label"], image["seed"]) for image in manifest["images"]] == [("Bag", 0), ("Bag", 1)]
    refused = _gantry(service, service.folder, "samples", job, "--json", "-o", "a.png")
    assert refused.returncode == 2 and "--json" in refused.stderr


def test_the_generator_is_fetched(service: RunningService, job: str) -> None:
    folder = service.make_folder("weights")
    assert _gantry(service, folder, "weights", job).stdout == "generator.safetensors\n"
    assert (folder / "generator.safetensors").stat().st_size > 10_000
    refused = _gantry(service, folder, "weights", job, "--checkpoint", "ckpt_0")
    assert refused.returncode == 1 and len(refused.stderr.splitlines()) == 1


def _gantry(service: RunningService, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    argv = [str(BIN / "gantry"), *words]
    return subprocess.run(argv, cwd=folder, env=service.environment, capture_output=True, text=True, check=False)


def _wait_until_ready(log: Path, up: subprocess.Popen[bytes]) -> None:
    """Wait until `gantry up` prints its address, which it does when every part is ready, the sampler included."""
    for _ in range(2400):
        if "Gantry is at" in log.read_text():
            return
        assert up.poll() is None, log.read_text()
        time.sleep(0.1)
    raise AssertionError(log.read_text())


def _processes_of(folder: Path) -> list[str]:
    """Return the command lines of processes whose environment names `folder`. A stopped service leaves none."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(folder / "data").encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except (PermissionError, FileNotFoundError, ProcessLookupError):
            continue
    return found
