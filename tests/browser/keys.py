"""The other story: a service that asks for keys, and somebody who signs in with one, and out again."""

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
from tests.browser.browser import WIDE, visitor


def play(
    browser: Browser, folder: Path, out: Path, find_ui: Callable[[str], str], say: Callable[[str], None]
) -> list[str]:
    """Play it in `folder`; what went wrong."""
    with _environment(GANTRY_AUTH="on", GANTRY_DATA_DIR=str(folder / "data")):
        _gantry("migrate")
        key = next(word for word in _gantry("keys", "first").split() if "gan_live_" in word).rpartition("=")[2]
        with _environment(GANTRY_KEY=key), service(folder, threads=1) as (_, url):
            return _visit(browser, find_ui(url), key, out, say)


def _visit(browser: Browser, ui: str, key: str, out: Path, say: Callable[[str], None]) -> list[str]:
    with visitor(browser, ui, WIDE) as who:
        page = who.page
        say("a stranger is led to the form, and a wrong key is refused")
        page.goto(f"{ui}/workers")
        page.get_by_label("Key").fill("gan_live_wrong")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_text("This key opens nothing here")).to_be_visible()
        who.picture(out / "sign-in.png")
        say("with a key in, to where they were going")
        page.get_by_label("Key").fill(key)
        page.keyboard.press("Enter")
        page.wait_for_url(re.compile("/workers$"))
        expect(page.get_by_role("button", name="Drain")).to_be_visible()
        assert key not in page.content()
        say("and out again")
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        page.goto(f"{ui}/")
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        return who.wrong


def _gantry(*words: str) -> str:
    done = subprocess.run([sys.executable, "-m", "gantry", *words], capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    """These variables, for what is started meanwhile."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
