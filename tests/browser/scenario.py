"""The first scenario: upload images, train on them, apply a remedy, compare the jobs."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from playwright.sync_api import Page, expect

from tests.browser import keyboard, zips
from tests.browser.browser import Visitor

SECONDS: Final = 900
"""The limit of each step. Training is slow on two busy cores."""

_SMALL: Final = "batch_size=32"
_AT: Final = re.compile(r"at step (\d+)\.")
# D learns far too fast, so that its finding appears early. Small batches and an early check save time.
_TOO_FAST_D: Final = (
    "optimizers.d.learning_rate=0.006\nbatch_size=16\nsafeguards.every_steps=50\n"
    "safeguards.thresholds.warm_up_images=3000\ncheckpoints.every_steps=250"
)


@dataclass
class Scenario:
    """The scenario in the browser of `visitor`, with the dashboard at `ui`; screenshots go to `out`."""

    visitor: Visitor
    ui: str
    folder: Path
    out: Path
    steps: int
    """The steps of the first job."""
    report: Callable[[str], None]

    @property
    def page(self) -> Page:
        """The page of the visitor."""
        return self.visitor.page

    def run(self) -> list[str]:
        """Run the scenario and return the ids of its jobs."""
        expect.set_options(timeout=SECONDS * 1000)
        self._first_visit()
        self._refused_upload()
        self._upload()
        good = self._submit("clothes by class", "my clothes", self.steps, _SMALL)
        self._follow()
        self.report("a walk by keyboard while the job trains: the focus stays where it is")
        keyboard.walk(self.page, self.ui, good)
        self._draw()
        bad = self._submit("D too fast", "fashion-mnist-mini", 1_500, _TOO_FAST_D)
        cured = self._remedy()
        self._cancel()
        self._compare(good, bad)
        self._fail()
        self._open_list()
        return [good, bad, cured]

    def go(self, path: str) -> None:
        """Open a path of the dashboard."""
        self.page.goto(f"{self.ui}{path}")

    def _first_visit(self) -> None:
        self.report("first visit: an empty list with a hint")
        self.go("/")
        expect(self.page.get_by_text("No job yet")).to_be_visible()

    def _refused_upload(self) -> None:
        self.report("upload with damaged images: each is named")
        self._send(zips.bad(self.folder / "torn.zip"))
        expect(self.page.get_by_role("heading", name="Problems")).to_be_visible()
        for name in ("Bag/torn.png", "Dress/torn.png"):
            expect(self.page.get_by_role("cell", name=name, exact=True)).to_be_visible()
        self.visitor.screenshot(self.out / "refused.png")

    def _upload(self) -> None:
        self.report("upload: the preparation and the contact sheet")
        self._send(zips.good(self.folder / "my clothes.zip"))
        sheet = self.page.get_by_role("img", name=re.compile("10 images of each of Bag, Dress, Sneaker"))
        expect(sheet).to_be_visible()
        self._until(lambda: sheet.evaluate("(img) => img.complete && img.naturalWidth > 0"))
        self.visitor.screenshot(self.out / "dataset.png", whole=True)

    def _send(self, file: Path) -> None:
        self.go("/datasets/upload")
        self.page.get_by_label("Zip file").set_input_files(file)
        self.page.get_by_role("button", name="Upload").click()
        self.page.wait_for_url(re.compile(r"/datasets/ds_"))

    def _submit(self, name: str, dataset: str, steps: int, other: str) -> str:
        self.report(f"new job on {dataset}: its cost is shown first")
        self.go("/submit")
        self.page.get_by_role("combobox", name="Data set", exact=True).click()
        self.page.get_by_role("option", name=dataset, exact=True).click()
        self.page.get_by_label("Steps (total_steps)").fill(str(steps))
        self.page.get_by_label("Name (optional)").fill(name)
        self.page.get_by_label("Other fields").fill(other)
        expect(self.page.get_by_text("Ready to submit.")).to_be_visible()
        expect(self.page.get_by_text(f"{steps:,}", exact=True).first).to_be_visible()
        self.visitor.screenshot(self.out / "submit.png")
        return self._send_form()

    def _follow(self) -> None:
        self.report("job page: the curve is updated")
        first = self._curve()
        self._until(lambda: self._curve() > first)
        self.page.get_by_role("switch", name="Log scale").click()
        self.page.get_by_role("switch", name="Log scale").click()
        self.page.get_by_role("button", name="Save a checkpoint").click()
        expect(self.page.get_by_role("button", name="Draw", exact=True)).to_be_visible()

    def _curve(self) -> int:
        """Wait for the chart of the losses, and return its last step."""
        chart = self.page.get_by_role("img", name=re.compile("D loss:"))
        found = _AT.search(chart.get_attribute("aria-label", timeout=SECONDS * 1000) or "")
        assert found is not None
        return int(found[1])

    def _draw(self) -> None:
        self.report("samples of one class, on request")
        self._draw_with("Draw", "Sneaker")
        drawn = self.page.get_by_role("img", name=re.compile("8 images of Sneaker"))
        expect(drawn).to_be_visible()
        self.report("samples again after the job has ended")
        expect(self.page.get_by_text("succeeded")).to_be_visible()
        before = drawn.get_attribute("src")
        self.page.get_by_role("button", name="Draw", exact=True).click()
        self._until(lambda: drawn.get_attribute("src") not in (before, ""))
        self.visitor.screenshot(self.out / "job.png", whole=True)

    def _draw_with(self, button: str, label: str) -> None:
        self.page.get_by_role("combobox", name="Class", exact=True).click()
        self.page.get_by_role("option", name=label, exact=True).click()
        self.page.get_by_role("button", name=button, exact=True).click()

    def _remedy(self) -> str:
        self.report("unhealthy job: the finding on the curve, and its remedy in the form")
        remedy = self.page.get_by_role("button", name="New job with this remedy").first
        expect(remedy).to_be_visible()
        self.visitor.screenshot(self.out / "finding.png")
        remedy.click()
        expect(self.page.get_by_text("with the remedy for")).to_be_visible()
        self.page.get_by_label("Name (optional)").fill("D at its own pace")
        return self._send_form()

    def _send_form(self) -> str:
        expect(self.page.get_by_text("Ready to submit.")).to_be_visible()
        self.page.get_by_role("button", name="Submit").click()
        self.page.wait_for_url(re.compile(r"/jobs/job_"))
        return str(self.page.url).rpartition("/")[2]

    def _cancel(self) -> None:
        self.report("cancel that job")
        self.page.get_by_role("button", name="Cancel").click()
        self.page.get_by_role("button", name="Yes, cancel it").click()
        expect(self.page.get_by_text("cancelled", exact=True)).to_be_visible()

    def _fail(self) -> None:
        self.report("a job that fails, for the list")
        self._submit("too slow", "fashion-mnist-mini", 100_000, "max_runtime_seconds=1")
        expect(self.page.get_by_text("failed", exact=True).first).to_be_visible()

    def _compare(self, *jobs: str) -> None:
        self.report("comparison: one chart, the same class of each")
        self.go(f"/compare?jobs={','.join(jobs)}")
        expect(self.page.get_by_role("img", name=re.compile(r"clothes by class .*D too fast"))).to_be_visible()
        self._draw_with("Draw from each", "Dress")
        expect(self.page.get_by_role("img", name=re.compile("8 images of Dress"))).to_have_count(2)
        self.visitor.screenshot(self.out / "compare.png", whole=True)

    def _open_list(self) -> None:
        self.report("list of all jobs")
        self.go("/")
        expect(self.page.get_by_role("link", name="clothes by class")).to_be_visible()
        self.visitor.screenshot(self.out / "jobs.png")

    def _until(self, condition: Callable[[], object]) -> None:
        for _ in range(SECONDS * 2):
            if condition():
                return
            self.page.wait_for_timeout(500)
        raise AssertionError(f"the condition did not become true within {SECONDS} s at {self.page.url}")
