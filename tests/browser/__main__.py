"""`python -m tests.browser`: the whole story in a real Chromium, for `make browser`; exit code 1 if it goes wrong."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final, get_args
from urllib.parse import urlsplit

import httpx2
from playwright.sync_api import Browser

from benchmarks.served import service
from tests.browser import keys
from tests.browser.browser import PHONE, WIDE, Scheme, chromium, visitor
from tests.browser.story import Story

_NOWHERE: Final = "/jobs/job_nowhere"


def main(argv: Sequence[str]) -> int:
    """Play it, and look at every page on both screens; the exit code."""
    asked = _arguments(argv)
    if (executable := shutil.which(asked.chromium)) is None:
        print(
            f"There is no {asked.chromium}. Debian: apt-get install chromium; or name another: CHROMIUM=/path/to/it"
        )
        return 2
    asked.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="gantry-browser-") as place, chromium(executable) as browser:
        open_one, closed_one = (Path(place) / name for name in ("open", "closed"))
        for folder in (open_one, closed_one):
            folder.mkdir()
        with service(open_one, threads=1) as (_, url):
            wrong = _play(browser, _find_ui(url), open_one, asked)
        wrong += keys.play(browser, closed_one, asked.out, _find_ui, _say)
    for line in wrong:
        print(f"WRONG {line}")
    return 1 if wrong else 0


def _find_ui(url: str) -> str:
    """Where the /ui of the API at `url` leads to."""
    at = urlsplit(str(httpx2.get(f"{url}/ui", trust_env=False, follow_redirects=True).url))
    return f"{at.scheme}://{at.netloc}/ui"


def _say(line: str) -> None:
    print(f"- {line}", flush=True)


def _play(browser: Browser, ui: str, folder: Path, asked: argparse.Namespace) -> list[str]:
    with visitor(browser, ui, WIDE) as who:
        story = Story(who, ui, folder, asked.out, asked.steps, _say)
        jobs = story.play()
        wrong = who.wrong
    dataset = "fashion-mnist-mini"
    paths = ["/", "/submit", f"/submit?from={jobs[0]}", f"/jobs/{jobs[0]}", f"/jobs/{jobs[1]}", "/datasets"]
    paths += ["/datasets/upload", f"/datasets/{dataset}", f"/compare?jobs={','.join(jobs)}", "/workers", _NOWHERE]
    return wrong + [line for size in (WIDE, PHONE) for line in _every_page(browser, ui, paths, size, asked.out)]


def _every_page(browser: Browser, ui: str, paths: Sequence[str], size: tuple[int, int], out: Path) -> list[str]:
    """Each of them, light and dark: it has one heading of the first order, names, and is no wider than the screen."""
    wrong = []
    for scheme in get_args(Scheme):
        with visitor(browser, ui, size, scheme) as who:
            for path in paths:
                _say(f"{path} at {size[0]} px, {scheme}")
                who.page.goto(f"{ui}{path}")
                who.page.get_by_role("heading", level=1).wait_for()
                who.page.wait_for_timeout(1000)
                if (headings := who.page.get_by_role("heading", level=1).count()) != 1:
                    wrong.append(f"{path} has {headings} headings of the first order")
                wrong += [f"{path} has a {role} without a name" for role in who.nameless()]
                if wider := who.overflow():
                    wrong.append(f"{path} at {size[0]} px is {wider} px too wide")
                if size == PHONE and scheme == "dark" and path.startswith("/jobs/job_") and path == paths[3]:
                    who.picture(out / "phone.png")
            wrong += who.wrong
    return wrong


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.browser", description=__doc__)
    parser.add_argument("--chromium", default="chromium", help="Its name or path.")
    parser.add_argument("--steps", type=int, default=1_000, help="Of the job that is watched.")
    parser.add_argument("--out", type=Path, default=Path("docs/ui"), help="Where the pictures go.")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
