"""All other fields of a new job: a part of the form for each object of the spec, built when it is opened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from nicegui import events, ui

from api.ui import words
from api.ui.schema import Field, Group, value_at
from gantry.client import Json

_AS_IT_IS: Final = "as it is"


class FieldsPanel:
    """Their inputs. One that is left empty says nothing: what the form begins with holds."""

    def __init__(self, groups: Sequence[Group]) -> None:
        self.inputs: dict[str, Any] = {}
        """By path; those of parts that were opened."""
        self._about: dict[str, Field] = {}
        self._below: Mapping[str, Any] = {}
        with ui.expansion("All fields").classes("w-full"):
            for group in groups:
                with ui.expansion(group.title, on_value_change=self._opening(group)).classes("w-full") as place:
                    place.props("dense")

    def begin_with(self, spec: Json) -> None:
        """What holds where nothing is filled in."""
        if spec is not self._below:
            self._below = spec
            for path in self.inputs:
                self._hint(path)

    def values(self) -> dict[str, Any]:
        """What is filled in."""
        return {path: one.value for path, one in self.inputs.items() if one.value not in (None, "")}

    def _opening(self, group: Group) -> Any:
        def opened(event: events.ValueChangeEventArguments[bool]) -> None:
            if not event.value or any(field.path in self.inputs for field in group.fields):
                return
            with event.sender:
                ui.label(group.about).classes("gantry-dim text-sm break-words")
                for field in group.fields:
                    self._build(field)

        return opened

    def _build(self, field: Field) -> None:
        made: ui.select | ui.number
        if field.options:
            made = ui.select({None: _AS_IT_IS, **{o: _said(o) for o in field.options}}, label=field.name)
        else:
            made = ui.number(field.name, min=field.low, max=field.high, precision=0 if field.whole else None)
        # Nothing is put right behind somebody's back: the service says what is wrong with a number.
        self.inputs[field.path], self._about[field.path] = made.classes("w-full").props("stack-label dense"), field
        self._hint(field.path)

    def _hint(self, path: str) -> None:
        now = _said(value_at(self._below, path))
        self.inputs[path].props["hint"] = f"Now {now}. {self._about[path].about}"
        self.inputs[path].update()


def _said(value: Any) -> str:
    """A field's value, as it stands in the form."""
    named = {None: "none", True: "on", False: "off"}
    return named[value] if value is None or isinstance(value, bool) else words.value(value)
