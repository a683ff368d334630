"""The form of a new job: its fields, the check and the cost of the resolved spec, and the submit button."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any, Final

from fastapi import Query
from nicegui import ui
from nicegui.elements.mixins.validation_element import ValidationElement
from starlette.responses import Response

from api.ui import formatting, frame
from api.ui.job_form import OTHER, JobForm, assign_problems
from api.ui.panels.fields import FieldsPanel
from api.ui.schema import Group, groups
from api.ui.sessions import BrowserSession, Sessions
from gantry.client import ApiError, Json, UnreachableError
from gantry.remedies import NoSuchFindingError, remedied

_CHECK_SECONDS: Final = 0.4
_HINT: Final = "One field on each line, such as optimizers.g.beta1=0. Lists can be set here only."


def register(sessions: Sessions) -> None:
    """Register the page."""

    @ui.page("/submit", title="New job – Gantry", response_timeout=30)
    async def submit(
        dataset: str = "", preset: str = "", source_id: Annotated[str, Query(alias="from")] = "", remedy: str = ""
    ) -> Response | None:
        return await frame.page(
            sessions, "New job", lambda session: _build(session, dataset, preset, source_id, remedy)
        )


async def _build(session: BrowserSession, dataset: str, preset: str, source_id: str, remedy: str) -> None:
    presets = (await session.call(session.client.presets))["data"]
    datasets = (await session.call(session.client.datasets))["data"]
    base: Json = {}
    if source_id:
        base = await _base(session, source_id, remedy)
    schema = await session.call(session.client.schema)
    frame.heading("New job")
    ready = {d["id"]: d["name"] for d in datasets if d["status"] == "ready"}
    if not ready:
        frame.show_empty("No data set is ready. A job needs one.", "Data sets", "/datasets")
        return
    page = _SubmitPage(session, presets, list(ready.values()), groups(schema), base)
    page.build(ready.get(dataset, dataset), preset, source_id, remedy)


async def _base(session: BrowserSession, source_id: str, remedy: str) -> Json:
    """Return the spec of an earlier job, with the remedy of a finding if one is named. Raises `ApiError`."""
    job = await session.call(session.client.job, source_id)
    try:
        return remedied(job, [remedy] if remedy else [])
    except NoSuchFindingError as error:
        raise ApiError(404, {"code": "no-such-finding", "detail": str(error)}) from None


class _SubmitPage:
    """The form and the result of its check by the service."""

    def __init__(
        self,
        session: BrowserSession,
        presets: Sequence[Json],
        datasets: Sequence[str],
        others: Sequence[Group],
        base: Json,
    ) -> None:
        self._session, self._base, self._datasets, self._groups = session, base, datasets, others
        self._presets = {p["name"]: p for p in presets}
        self._fields: dict[str, Any] = {}
        self._checked_body: Json | None = None
        self._last_values: tuple[object, ...] | None = None

    def build(self, dataset: str, preset: str, source_id: str, remedy: str) -> None:
        if source_id:
            source = f"This form starts from the full spec of {source_id}" + (
                f", with the remedy for {remedy}." if remedy else "."
            )
            ui.label(f"{source} The fields below override it.").props("role=note").classes("break-words")
        with ui.element("div").classes("w-full grid grid-cols-1 lg:grid-cols-2 gap-4"):
            with frame.panel("form"):
                self._form(dataset, preset, source_id)
            with frame.panel():
                self._result()
        # Check at an interval instead of after each keystroke.
        ui.timer(_CHECK_SECONDS, self._check)

    def _form(self, dataset: str, preset: str, source_id: str) -> None:
        if not source_id:
            default = next((n for n, p in self._presets.items() if p["is_default"]), next(iter(self._presets)))
            titles = {name: f"{name}: {p['title']}" for name, p in self._presets.items()}
            chosen = preset if preset in titles else default
            self._fields["preset"] = ui.select(titles, value=chosen, label="Preset").classes("w-full")
            self._about = ui.label().classes("gantry-dim text-sm")
        first = dataset or self._base.get("dataset", "")
        first = first if first in self._datasets else self._datasets[0]
        self._fields["dataset"] = ui.select(list(self._datasets), value=first, label="Data set").classes("w-full")
        steps, seed = self._base.get("total_steps"), self._base.get("seed")
        self._fields["total_steps"] = ui.number("Steps (total_steps)", value=steps, min=1)
        self._fields["seed"] = ui.number("Seed", value=seed, min=0)
        for name in ("total_steps", "seed"):
            # Without a stacked label, the placeholder with the preset's value is hidden.
            self._fields[name].classes("w-full").props("stack-label")
        self._fields["name"] = ui.input("Name (optional)", value=self._base.get("name") or "").classes("w-full")
        self._others = FieldsPanel(self._groups)
        self._fields[OTHER] = ui.textarea("Other fields").props(f'autogrow hint="{_HINT}"').classes("w-full")

    def _result(self) -> None:
        frame.section("Check and cost")
        self._message = ui.label().props("role=status aria-live=polite").classes("break-words")
        self._problems = ui.column().classes("w-full text-negative").props("role=alert")
        self._cost = ui.column().classes("w-full")
        with ui.expansion("Resolved spec").classes("w-full") as self._spec_panel:
            self._spec = frame.code()
        self._button = ui.button("Submit", icon="rocket_launch", on_click=self._submit)
        self._show_invalid("Checking …")

    def _form_values(self) -> JobForm:
        values = {name: field.value for name, field in self._fields.items() if name != OTHER}
        return JobForm(**values, other=self._fields[OTHER].value or "", fields=self._others.values(), base=self._base)

    async def _check(self) -> None:
        form = self._form_values()
        values = (*(field.value for field in self._fields.values()), *self._others.values().items())
        if values == self._last_values:
            return
        self._last_values = values
        self._show_defaults()
        self._clear_problems()
        if (problem := form.problem()) is not None:
            self._fields[OTHER].error = problem
            self._show_invalid("There is a mistake in the other fields.")
            return
        try:
            answer = await self._session.call(self._session.client.submit, form.body(), dry_run=True)
        except ApiError as error:
            if error.status == 503:
                self._show_unknown(form.body(), error)
            else:
                self._show_problems(error, form)
        except UnreachableError as error:
            # Try again at the next check.
            self._last_values = None
            self._show_invalid(str(error))
        else:
            self._show(answer, form.body())

    def _show_defaults(self) -> None:
        if "preset" not in self._fields:
            self._others.set_defaults(self._base)
        else:
            preset = self._presets[self._fields["preset"].value]
            self._about.set_text(f"{preset['summary']} {preset['paper']}")
            self._fields["total_steps"].props(f'placeholder="{preset["spec"]["total_steps"]} (from the preset)"')
            self._fields["seed"].props(f'placeholder="{preset["spec"]["seed"]}"')
            self._others.set_defaults(preset["spec"])

    def _show(self, answer: Json, body: Json) -> None:
        self._checked_body = body
        self._message.set_text("Ready to submit.")
        self._button.enable()
        self._cost.clear()
        with self._cost:
            frame.add_facts(costs(answer))
        self._spec_panel.visible = True
        self._spec.set_content(json.dumps(answer["spec"], indent=2, ensure_ascii=False))

    def _show_unknown(self, body: Json, error: ApiError) -> None:
        """Show that the cost is unknown, because the sampler is down or busy, and still allow submission."""
        self._show_invalid(f"The cost is unknown: {error} You can submit the job anyway.")
        self._checked_body = body
        self._button.enable()

    def _show_invalid(self, why: str) -> None:
        self._checked_body = None
        self._message.set_text(why)
        self._button.disable()
        self._cost.clear()
        self._spec_panel.visible = False

    def _clear_problems(self) -> None:
        for field in (*self._fields.values(), *self._others.inputs.values()):
            if isinstance(field, ValidationElement):
                field.error = None
        self._problems.clear()

    def _show_problems(self, error: ApiError, form: JobForm) -> None:
        at, rest = assign_problems(error.problem.get("errors") or [], form)
        for name, detail in list(at.items()):
            field = self._fields.get(name, self._others.inputs.get(name))
            if field is not None:
                field.error = detail
            else:
                rest.append(f"{name}: {detail}")
        count = len(at) + len(rest)
        self._show_invalid(
            f"Not ready to submit: {count} problem{'s' if count > 1 else ''}." if count else str(error)
        )
        with self._problems:
            for detail in rest:
                ui.label(detail).classes("break-words")

    async def _submit(self) -> None:
        form = self._form_values()
        if form.problem() is None and form.body() != self._checked_body:
            # The visitor submitted before the last change was checked.
            self._last_values = None
            await self._check()
        if self._checked_body is None or form.problem() is not None or form.body() != self._checked_body:
            # The check has shown the problem at its field.
            return
        self._button.disable()
        try:
            job = await self._session.call(self._session.client.submit, self._checked_body)
        except (ApiError, UnreachableError) as error:
            if isinstance(error, ApiError) and error.problem.get("errors"):
                self._show_problems(error, form)
            else:
                # The form is valid: a full queue or an unreachable service may be only temporary.
                self._button.enable()
                frame.notify_error(error)
        else:
            ui.navigate.to(f"/jobs/{job['id']}")


def costs(answer: Json) -> dict[str, str]:
    """Return the cost that a dry run estimates, by name."""
    estimate, spec = answer["estimate"], answer["spec"]
    return {
        "Steps": formatting.count(spec["total_steps"]),
        "Batch": formatting.count(spec["batch_size"]),
        "G parameters": formatting.count(estimate["generator_parameters"]),
        "D parameters": formatting.count(estimate["discriminator_parameters"]),
        "Memory": formatting.size(estimate["memory_bytes"]),
        "Checkpoint": formatting.size(estimate["checkpoint_bytes"]),
        "Disk": formatting.size(estimate["disk_bytes"]),
        "Duration": "not measured yet" if estimate["seconds"] is None else formatting.duration(estimate["seconds"]),
    }
