"""Chromium, driven by Playwright: what it says is heard, and nothing that it asks leaves this machine."""

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
PHONE: Final = (390, 844)
_COLOURS: Final = 256
Scheme = Literal["light", "dark"]

# Debian's package under root; and nothing of its own that would call home.
_FLAGS: Final = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
_HERE: Final = "127.0.0.1"
# Said by the browser itself of an answer that is meant: the page of an unknown job is a 404, a refused upload a 422.
_MEANT: Final = re.compile(r"the server responded with a status of (404|409|422) ")
_OVERFLOW: Final = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
# Roles that mean nothing without a name.
_NAMED: Final = {
    *("button", "checkbox", "combobox", "link", "listbox", "slider", "spinbutton", "switch", "textbox"),
    *("image", "img", "progressbar"),
}


@dataclass
class Visitor:
    """Somebody at a screen of some size, who notes what goes wrong."""

    context: BrowserContext
    page: Page
    wrong: list[str] = field(default_factory=list)

    def listen(self) -> None:
        """Hear what the pages say, and where their requests go."""
        self.page.on("console", lambda said: self._note(f"console: {said.text}") if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self._note(f"uncaught: {error}"))
        self.context.on("request", lambda asked: self._judge(asked.url))

    def _note(self, said: str) -> None:
        if not _MEANT.search(said):
            self.wrong.append(f"{self.page.url}: {said}")

    def _judge(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("data", "blob") and parts.hostname != _HERE:
            self.wrong.append(f"{self.page.url} asked {url}")

    def overflow(self) -> int:
        """Pixels by which the page is wider than the screen."""
        wider: int = self.page.evaluate(_OVERFLOW)
        return wider

    def nameless(self) -> list[str]:
        """What a screen reader could say no name of: controls, links and pictures."""
        tree = self.context.new_cdp_session(self.page).send("Accessibility.getFullAXTree")
        nodes = [node for node in tree["nodes"] if not node["ignored"]]
        return [role for node in nodes if (role := node["role"]["value"]) in _NAMED and not _name(node)]

    def picture(self, path: Path, *, whole: bool = False) -> None:
        """What is seen, as a PNG in few colours."""
        self.page.evaluate("() => { document.activeElement?.blur(); window.scrollTo(0, 0); }")
        self.page.wait_for_function("() => [...document.images].every((image) => image.complete)")
        self.page.wait_for_timeout(400)
        seen = Image.open(io.BytesIO(self.page.screenshot(full_page=whole, animations="disabled")))
        seen.convert("RGB").quantize(_COLOURS).save(path, optimize=True)


def _name(node: dict[str, Any]) -> str:
    return str(node.get("name", {}).get("value", "")).strip()


@contextmanager
def chromium(executable: str) -> Iterator[Browser]:
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=executable, args=_FLAGS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def visitor(browser: Browser, url: str, size: tuple[int, int], scheme: Scheme = "light") -> Iterator[Visitor]:
    context = browser.new_context(
        base_url=url,
        viewport={"width": size[0], "height": size[1]},
        color_scheme=scheme,
        reduced_motion="reduce",
        is_mobile=size == PHONE,
        has_touch=size == PHONE,
    )
    made = Visitor(context, context.new_page())
    made.listen()
    try:
        yield made
    finally:
        context.close()
