"""Chromium, controlled by Playwright. It collects console errors and all requests to other machines."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

WIDE: Final = (1280, 900)
DESK: Final = (1440, 900)
TABLET: Final = (768, 1024)
PHONE: Final = (390, 844)
_COLOURS: Final = 256
Scheme = Literal["light", "dark"]

# `--no-sandbox` is needed under root. The other flags stop all traffic of Chromium itself.
_FLAGS: Final = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
_LOCAL_HOST: Final = "127.0.0.1"
# The browser logs these expected statuses as errors: an unknown job is a 404, a refused upload a 422.
_EXPECTED: Final = re.compile(r"the server responded with a status of (404|409|422) ")
_OVERFLOW: Final = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
# A word that is broken in two, or a cell of a few letters beside one with a long text.
_SQUEEZED: Final = """() => [...document.querySelectorAll(".gantry-table td")]
  .filter((cell) => cell.innerText.trim() && cell.clientWidth < 40)
  .map((cell) => `${cell.dataset.label} is only ${cell.clientWidth} px wide`)"""
# Roles that need an accessible name.
_ROLES_WITH_NAMES: Final = {
    *("button", "checkbox", "combobox", "link", "listbox", "slider", "spinbutton", "switch", "textbox"),
    *("image", "img", "progressbar"),
}


@dataclass
class Visitor:
    """One browser context with a page, and the problems found in it."""

    context: BrowserContext
    page: Page
    problems: list[str] = field(default_factory=list)

    def attach(self) -> None:
        """Collect the console errors of the page and its requests to other hosts."""
        self.page.on(
            "console", lambda message: self._note(f"console: {message.text}") if message.type == "error" else None
        )
        self.page.on("pageerror", lambda error: self._note(f"uncaught: {error}"))
        self.context.on("request", lambda request: self._check_host(request.url))

    def _note(self, problem: str) -> None:
        if not _EXPECTED.search(problem):
            self.problems.append(f"{self.page.url}: {problem}")

    def _check_host(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("data", "blob") and parts.hostname != _LOCAL_HOST:
            self.problems.append(f"{self.page.url} requested {url}")

    def overflow(self) -> int:
        """Return by how many pixels the page is wider than the screen."""
        wider: int = self.page.evaluate(_OVERFLOW)
        return wider

    def squeezed_cells(self) -> list[str]:
        """Return the cells of tables that are too narrow to read."""
        cells: list[str] = self.page.evaluate(_SQUEEZED)
        return cells

    def unnamed_elements(self) -> list[str]:
        """Return the roles of controls, links and images without an accessible name."""
        tree = self.context.new_cdp_session(self.page).send("Accessibility.getFullAXTree")
        nodes = [node for node in tree["nodes"] if not node["ignored"]]
        return [role for node in nodes if (role := node["role"]["value"]) in _ROLES_WITH_NAMES and not _name(node)]

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        """Save a screenshot as a PNG with 256 colours; `whole` includes what must be scrolled to."""
        self.page.evaluate("() => { document.activeElement?.blur(); window.scrollTo(0, 0); }")
        self.page.wait_for_function("() => [...document.images].every((image) => image.complete)")
        self.page.wait_for_timeout(400)
        image = Image.open(io.BytesIO(self.page.screenshot(full_page=whole, animations="disabled")))
        image.convert("RGB").quantize(_COLOURS).save(path, optimize=True)


def _name(node: dict[str, Any]) -> str:
    return str(node.get("name", {}).get("value", "")).strip()


@contextmanager
def chromium(executable: str) -> Iterator[Browser]:
    """Start Chromium, and close it at the end."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=_FLAGS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def open_visitor(browser: Browser, url: str, size: tuple[int, int], scheme: Scheme = "light") -> Iterator[Visitor]:
    """Open a page at this screen size and colour scheme."""
    context = browser.new_context(
        base_url=url,
        viewport={"width": size[0], "height": size[1]},
        color_scheme=scheme,
        reduced_motion="reduce",
        is_mobile=size == PHONE,
        has_touch=size == PHONE,
    )
    opened = Visitor(context, context.new_page())
    opened.attach()
    try:
        yield opened
    finally:
        context.close()
