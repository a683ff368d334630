"""All other fields of the form of a new job: one section for each object of the spec, built when it is opened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from nicegui import events, ui

from api.ui import formatting
from api.ui.schema import Field, Group, value_at
from gantry.client import Json

_UNCHANGED: Final = "unchanged"


class FieldsPanel:
    """The inputs of these fields. For an empty input, the value of the starting spec holds."""

    def __init__(self, groups: Sequence[Group]) -> None:
        self.inputs: dict[str, Any] = {}
        """The inputs by path, of the sections that were opened."""
        self._about: dict[str, Field] = {}
        self._defaults: Mapping[str, Any] = {}
        with ui.expansion("All fields").classes("w-full"):
            for group in groups:
                with ui.expansion(group.title, on_value_change=self._on_open(group)).classes("w-full") as section:
                    section.props("dense")

    def set_defaults(self, spec: Json) -> None:
        """Set the spec whose values hold for empty inputs."""
        if spec is not self._defaults:
            self._defaults = spec
            for path in self.inputs:
                self._hint(path)

    def values(self) -> dict[str, Any]:
        """Return the values that are filled in, by path."""
        return {path: one.value for path, one in self.inputs.items() if one.value not in (None, "")}

    def _on_open(self, group: Group) -> Any:
        """Return the event handler that builds the inputs of `group` when its section first opens."""

        def build_inputs(event: events.ValueChangeEventArguments[bool]) -> None:
            if not event.value or any(field.path in self.inputs for field in group.fields):
                return
            with event.sender:
                ui.label(group.about).classes("gantry-dim text-sm break-words")
                for field in group.fields:
                    self._build(field)

        return build_inputs

    def _build(self, field: Field) -> None:
        element: ui.select | ui.number
        if field.options:
            element = ui.select({None: _UNCHANGED, **{o: _as_text(o) for o in field.options}}, label=field.name)
        else:
            element = ui.number(field.name, min=field.low, max=field.high, precision=0 if field.whole else None)
        # The input does not correct numbers silently: the service reports what is wrong with them.
        self.inputs[field.path], self._about[field.path] = element.classes("w-full").props("stack-label dense"), field
        self._hint(field.path)

    def _hint(self, path: str) -> None:
        current = _as_text(value_at(self._defaults, path))
        self.inputs[path].props["hint"] = f"Current value: {current}. {self._about[path].about}"
        self.inputs[path].update()


def _as_text(value: Any) -> str:
    """Return the value of a field as the form shows it."""
    names = {None: "none", True: "on", False: "off"}
    return names[value] if value is None or isinstance(value, bool) else formatting.field_value(value)
