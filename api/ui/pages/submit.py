"""A new job: the fields, what they resolve to and what it costs, and then the button."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any, Final

from fastapi import Query
from nicegui import ui
from nicegui.elements.mixins.validation_element import ValidationElement
from starlette.responses import Response

from api.ui import frame, words
from api.ui.body import OTHER, Form, placed
from api.ui.panels.fields import FieldsPanel
from api.ui.schema import Group, groups
from api.ui.sessions import Desk, Sessions
from gantry.client import ApiError, Json, UnreachableError
from gantry.remedies import NoSuchFindingError, remedied

_LOOK_SECONDS: Final = 0.4
_HINT: Final = "Any field, one a line, such as optimizers.g.beta1=0: for lists, and for those who know their names"


def register(sessions: Sessions) -> None:
    @ui.page("/submit", title="New job – Gantry", response_timeout=30)
    async def submit(
        dataset: str = "", preset: str = "", again: Annotated[str, Query(alias="from")] = "", remedy: str = ""
    ) -> Response | None:
        return await frame.page(sessions, "New job", lambda session: _build(session, dataset, preset, again, remedy))


async def _build(session: Desk, dataset: str, preset: str, again: str, remedy: str) -> None:
    presets = (await session.ask(session.client.presets))["data"]
    datasets = (await session.ask(session.client.datasets))["data"]
    base: Json = {}
    if again:
        base = await _base(session, again, remedy)
    schema = await session.ask(session.client.schema)
    frame.heading("New job")
    ready = {d["id"]: d["name"] for d in datasets if d["status"] == "ready"}
    if not ready:
        frame.empty("No data set is ready, and a job needs one.", "Data sets", "/datasets")
        return
    page = _SubmitPage(session, presets, list(ready.values()), groups(schema), base)
    page.build(ready.get(dataset, dataset), preset, again, remedy)


async def _base(session: Desk, again: str, remedy: str) -> Json:
    """The spec of the job that is done again, cured where a finding is named."""
    job = await session.ask(session.client.job, again)
    try:
        return remedied(job, [remedy] if remedy else [])
    except NoSuchFindingError as error:
        raise ApiError(404, {"code": "no-such-finding", "detail": str(error)}) from None


class _SubmitPage:
    """The form, and what the service says of it."""

    def __init__(
        self, session: Desk, presets: Sequence[Json], datasets: Sequence[str], others: Sequence[Group], base: Json
    ) -> None:
        self._session, self._base, self._datasets, self._groups = session, base, datasets, others
        self._presets = {p["name"]: p for p in presets}
        self._fields: dict[str, Any] = {}
        self._checked: Json | None = None
        self._looked: tuple[object, ...] | None = None

    def build(self, dataset: str, preset: str, again: str, remedy: str) -> None:
        if again:
            what = f"The whole spec of {again}" + (f", with the remedy of {remedy}." if remedy else ".")
            ui.label(f"{what} What you fill in below comes on top.").props("role=note").classes("break-words")
        with ui.element("div").classes("w-full grid grid-cols-1 lg:grid-cols-2 gap-4"):
            with frame.panel("form"):
                self._form(dataset, preset, again)
            with frame.panel():
                self._answer()
        # One look a moment after the last change, instead of one a key.
        ui.timer(_LOOK_SECONDS, self._look)

    def _form(self, dataset: str, preset: str, again: str) -> None:
        if not again:
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
            # Else the preset's own value, which stands in an empty field, is not seen.
            self._fields[name].classes("w-full").props("stack-label")
        self._fields["name"] = ui.input("Name, for people", value=self._base.get("name") or "").classes("w-full")
        self._others = FieldsPanel(self._groups)
        self._fields[OTHER] = ui.textarea("Other fields").props(f'autogrow hint="{_HINT}"').classes("w-full")

    def _answer(self) -> None:
        frame.section("What it resolves to")
        self._said = ui.label().props("role=status aria-live=polite").classes("break-words")
        self._problems = ui.column().classes("w-full text-negative").props("role=alert")
        self._cost = ui.column().classes("w-full")
        with ui.expansion("The resolved spec").classes("w-full") as self._spec_place:
            self._spec = ui.code("", language="json").classes("w-full")
        self._button = ui.button("Submit", icon="rocket_launch", on_click=self._submit)
        self._show_nothing("Looking …")

    def _read(self) -> Form:
        values = {name: field.value for name, field in self._fields.items() if name != OTHER}
        return Form(**values, other=self._fields[OTHER].value or "", fields=self._others.values(), base=self._base)

    async def _look(self) -> None:
        form = self._read()
        seen = (*(field.value for field in self._fields.values()), *self._others.values().items())
        if seen == self._looked:
            return
        self._looked = seen
        self._describe()
        self._clear()
        if (problem := form.problem()) is not None:
            self._fields[OTHER].error = problem
            self._show_nothing("There is a mistake in the other fields.")
            return
        try:
            answer = await self._session.ask(self._session.client.submit, form.body(), dry_run=True)
        except ApiError as error:
            if error.status == 503:
                self._show_unknown(form.body(), error)
            else:
                self._refused(error, form)
        except UnreachableError as error:
            # Asked again at the next look.
            self._looked = None
            self._show_nothing(str(error))
        else:
            self._show(answer, form.body())

    def _describe(self) -> None:
        if "preset" not in self._fields:
            self._others.begin_with(self._base)
        else:
            preset = self._presets[self._fields["preset"].value]
            self._about.set_text(f"{preset['summary']} {preset['paper']}")
            self._fields["total_steps"].props(f'placeholder="{preset["spec"]["total_steps"]}, as the preset has it"')
            self._fields["seed"].props(f'placeholder="{preset["spec"]["seed"]}"')
            self._others.begin_with(preset["spec"])

    def _show(self, answer: Json, body: Json) -> None:
        self._checked = body
        self._said.set_text("It can be submitted as it is.")
        self._button.enable()
        self._cost.clear()
        with self._cost:
            frame.facts(costs(answer))
        self._spec_place.visible = True
        self._spec.set_content(json.dumps(answer["spec"], indent=2, ensure_ascii=False))

    def _show_unknown(self, body: Json, error: ApiError) -> None:
        """The sampler, which estimates, is away or busy: no reason to keep a job from the queue."""
        self._show_nothing(f"What it costs is not known now: {error} It can be submitted all the same.")
        self._checked = body
        self._button.enable()

    def _show_nothing(self, why: str) -> None:
        self._checked = None
        self._said.set_text(why)
        self._button.disable()
        self._cost.clear()
        self._spec_place.visible = False

    def _clear(self) -> None:
        for field in (*self._fields.values(), *self._others.inputs.values()):
            if isinstance(field, ValidationElement):
                field.error = None
        self._problems.clear()

    def _refused(self, error: ApiError, form: Form) -> None:
        at, rest = placed(error.problem.get("errors") or [], form)
        for name, detail in list(at.items()):
            field = self._fields.get(name, self._others.inputs.get(name))
            if field is not None:
                field.error = detail
            else:
                rest.append(f"{name}: {detail}")
        count = len(at) + len(rest)
        self._show_nothing(
            f"It is not taken yet: {count} problem{'s' if count > 1 else ''}." if count else str(error)
        )
        with self._problems:
            for detail in rest:
                ui.label(detail).classes("break-words")

    async def _submit(self) -> None:
        form = self._read()
        if form.problem() is None and form.body() != self._checked:
            # Somebody was quicker than the look.
            self._looked = None
            await self._look()
        if self._checked is None or form.problem() is not None or form.body() != self._checked:
            # What is wrong stands at its field by now.
            return
        self._button.disable()
        try:
            job = await self._session.ask(self._session.client.submit, self._checked)
        except (ApiError, UnreachableError) as error:
            if isinstance(error, ApiError) and error.problem.get("errors"):
                self._refused(error, form)
            else:
                # Nothing is wrong with the form: what was full or away may be so no longer.
                self._button.enable()
                frame.tell(error)
        else:
            ui.navigate.to(f"/jobs/{job['id']}")


def costs(answer: Json) -> dict[str, str]:
    """What a dry run says that it would take."""
    estimate, spec = answer["estimate"], answer["spec"]
    return {
        "Steps": words.count(spec["total_steps"]),
        "Batch": words.count(spec["batch_size"]),
        "G parameters": words.count(estimate["generator_parameters"]),
        "D parameters": words.count(estimate["discriminator_parameters"]),
        "Memory": words.size(estimate["memory_bytes"]),
        "A checkpoint": words.size(estimate["checkpoint_bytes"]),
        "Disk": words.size(estimate["disk_bytes"]),
    }
