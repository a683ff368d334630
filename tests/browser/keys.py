"""The second scenario: a service with API keys, and a visitor who signs in and out."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, expect

from benchmarks.served import service
from tests.browser.browser import WIDE, open_visitor


def run(
    browser: Browser, folder: Path, out: Path, find_ui: Callable[[str], str], report: Callable[[str], None]
) -> list[str]:
    """Run the scenario in `folder` and return the problems."""
    with _environment(GANTRY_AUTH="on", GANTRY_DATA_DIR=str(folder / "data")):
        _gantry("migrate")
        key = next(word for word in _gantry("keys", "first").split() if "gan_live_" in word).rpartition("=")[2]
        with _environment(GANTRY_KEY=key), service(folder, threads=1) as (_, url):
            return _visit(browser, find_ui(url), key, out, report)


def _visit(browser: Browser, ui: str, key: str, out: Path, report: Callable[[str], None]) -> list[str]:
    with open_visitor(browser, ui, WIDE) as visitor:
        page = visitor.page
        report("without a key the sign-in form appears; it refuses a wrong key")
        page.goto(f"{ui}/workers")
        page.get_by_label("Key").fill("gan_live_wrong")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_text("The service does not accept this key")).to_be_visible()
        visitor.screenshot(out / "sign-in.png")
        report("a valid key leads back to the requested page")
        page.get_by_label("Key").fill(key)
        page.keyboard.press("Enter")
        page.wait_for_url(re.compile("/workers$"))
        expect(page.get_by_role("button", name="Drain")).to_be_visible()
        assert key not in page.content()
        report("sign out")
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        page.goto(f"{ui}/")
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        return visitor.problems


def _gantry(*arguments: str) -> str:
    done = subprocess.run([sys.executable, "-m", "gantry", *arguments], capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    """Set these environment variables for processes started in the block."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
