"""A walk by keyboard through list, job and checkpoints while the job trains. The focus must stay where it is."""

from __future__ import annotations

import re
from typing import Final

from playwright.sync_api import Locator, Page, expect

# Both pages are updated every 2 s.
_UPDATES_MS: Final = 5_000
_MOST_STOPS: Final = 120
_NAME: Final = "() => { const e = document.activeElement; return e.ariaLabel || e.innerText || e.tagName; }"
# The outline is that of the element itself, or of the box of a text field, or of the thumb of a slider.
_HAS_OUTLINE: Final = """() => {
  const focused = document.activeElement, box = focused.closest(".q-field")?.querySelector(".q-field__control");
  const parts = [focused, box, focused.closest(".q-slider")?.querySelector(".q-slider__thumb")];
  return parts.some((part) => part && getComputedStyle(part).outlineStyle === "solid");
}"""


def walk(page: Page, ui: str, job: str) -> None:
    """Walk from the list to the running job `job`, its actions and its checkpoints. Raises `AssertionError`."""
    page.goto(f"{ui}/")
    link = page.locator(f'a[href$="/jobs/{job}"]')
    progress = page.locator("tr", has=link).locator(".gantry-bar")
    before = progress.inner_text()
    _tab_to(page, link)
    expect(progress).not_to_have_text(before)
    _stays(page, link)
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(f"/jobs/{job}$"))
    _over_the_chart(page)
    download = page.get_by_role("link", name=re.compile("^weights of"))
    for stop in (page.get_by_role("button", name="Pause"), download.first):
        expect(stop).to_be_visible()
        _tab_to(page, stop)
        _stays(page, stop)


def _tab_to(page: Page, target: Locator) -> None:
    """Press Tab until `target` has the focus. Every stop on the way must show where the focus is."""
    for _ in range(_MOST_STOPS):
        page.keyboard.press("Tab")
        name = page.evaluate(_NAME)
        assert page.evaluate(_HAS_OUTLINE) or name == "BODY", f"the focus on {name!r} cannot be seen at {page.url}"
        if target.evaluate("(element) => element === document.activeElement"):
            return
    raise AssertionError(f"Tab does not reach {target} at {page.url}")


def _stays(page: Page, target: Locator) -> None:
    page.wait_for_timeout(_UPDATES_MS)
    kept = target.evaluate("(element) => element === document.activeElement")
    assert kept, f"the focus fell to {page.evaluate(_NAME)!r}"


def _over_the_chart(page: Page) -> None:
    """Turn the wheel over a chart: it scrolls the page."""
    chart = page.get_by_role("img", name=re.compile("D loss:"))
    chart.scroll_into_view_if_needed()
    chart.hover()
    before = page.evaluate("window.scrollY")
    page.mouse.wheel(0, 200)
    page.wait_for_function(f"window.scrollY > {before}")
    page.evaluate("window.scrollTo(0, 0)")
