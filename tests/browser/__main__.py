"""`python -m tests.browser`: run the whole scenario in a real Chromium. Exits with 1 on problems."""

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
from tests.browser.browser import DESK, PHONE, TABLET, WIDE, Scheme, chromium, open_visitor
from tests.browser.scenario import Scenario

_UNKNOWN_JOB: Final = "/jobs/job_nowhere"


def main(argv: Sequence[str]) -> int:
    """Run the scenario, check every page on both screen sizes, and return the exit code.

    It is 0 without problems, 1 with problems and 2 without Chromium.
    """
    arguments = _arguments(argv)
    if (executable := shutil.which(arguments.chromium)) is None:
        print(f"{arguments.chromium} was not found. Debian: apt-get install chromium. Others: CHROMIUM=/path/to/it")
        return 2
    arguments.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="gantry-browser-") as root, chromium(executable) as browser:
        open_folder, keys_folder = (Path(root) / name for name in ("open", "closed"))
        for folder in (open_folder, keys_folder):
            folder.mkdir()
        with service(open_folder, threads=1) as (_, url):
            problems = _run_scenario(browser, _find_ui(url), open_folder, arguments)
        problems += keys.run(browser, keys_folder, arguments.out, _find_ui, _report)
    for line in problems:
        print(f"WRONG {line}")
    return 1 if problems else 0


def _find_ui(url: str) -> str:
    """Return the URL of the dashboard to which the API at `url` redirects."""
    at = urlsplit(str(httpx2.get(f"{url}/ui", trust_env=False, follow_redirects=True).url))
    return f"{at.scheme}://{at.netloc}/ui"


def _report(line: str) -> None:
    print(f"- {line}", flush=True)


def _run_scenario(browser: Browser, ui: str, folder: Path, arguments: argparse.Namespace) -> list[str]:
    with open_visitor(browser, ui, WIDE) as visitor:
        scenario = Scenario(visitor, ui, folder, arguments.out, arguments.steps, _report)
        jobs = scenario.run()
        problems = visitor.problems
    dataset = "fashion-mnist-mini"
    paths = ["/", "/submit", f"/submit?from={jobs[0]}", f"/jobs/{jobs[0]}", f"/jobs/{jobs[1]}", "/datasets"]
    paths += ["/datasets/upload", f"/datasets/{dataset}", f"/compare?jobs={','.join(jobs)}", "/workers", _UNKNOWN_JOB]
    # The list has the most columns, and the longest texts when a job has failed.
    checks = [(WIDE, paths), (PHONE, paths), (DESK, ["/"]), (TABLET, ["/"])]
    return problems + [line for size, some in checks for line in _check_pages(browser, ui, some, size, arguments.out)]


def _check_pages(browser: Browser, ui: str, paths: Sequence[str], size: tuple[int, int], out: Path) -> list[str]:
    """Return the problems of all pages, light and dark: headings, names of controls, and width."""
    problems = []
    for scheme in get_args(Scheme):
        with open_visitor(browser, ui, size, scheme) as visitor:
            for path in paths:
                _report(f"{path} at {size[0]} px, {scheme}")
                visitor.page.goto(f"{ui}{path}")
                visitor.page.get_by_role("heading", level=1).wait_for()
                visitor.page.wait_for_timeout(1000)
                if (headings := visitor.page.get_by_role("heading", level=1).count()) != 1:
                    problems.append(f"{path} has {headings} headings of level 1")
                problems += [f"{path} has a {role} without a name" for role in visitor.unnamed_elements()]
                if wider := visitor.overflow():
                    problems.append(f"{path} at {size[0]} px is {wider} px too wide")
                problems += [f"{path} at {size[0]} px: {cell}" for cell in visitor.squeezed_cells()]
                if size == PHONE and scheme == "dark" and path.startswith("/jobs/job_") and path == paths[3]:
                    visitor.screenshot(out / "phone.png")
            problems += visitor.problems
    return problems


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.browser", description=__doc__)
    parser.add_argument("--chromium", default="chromium", help="Name or path of Chromium.")
    parser.add_argument("--steps", type=int, default=1_000, help="Steps of the first job.")
    parser.add_argument("--out", type=Path, default=Path("docs/ui"), help="Folder for the screenshots.")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
