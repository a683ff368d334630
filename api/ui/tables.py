"""Tables whose rows change in place, so that scroll position and keyboard focus stay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from nicegui import ui

Row = dict[str, Any]

TEXT: Final = "text"
LINK: Final = "link"
BADGE: Final = "badge"
BAR: Final = "bar"
IMAGE: Final = "image"
SPARK: Final = "spark"
LINKS: Final = "links"
BUTTON: Final = "button"
"""A button that emits an event with the name of the column and the id of the row."""


class LiveTable(ui.table, component="live_table.js"):
    """A table with a kind of cell for each column. On a telephone a row is a card."""

    def __init__(
        self,
        name: str,
        columns: Mapping[str, tuple[str, str]],
        rows: Sequence[Row],
        selection: Literal["multiple"] | None = None,
    ) -> None:
        # NiceGUI would add its own cells for columns whose fields are lists, and the cells read the row by name.
        definitions = [
            {"name": key, "label": label, "field": "id", "align": "left", "kind": kind}
            for key, (label, kind) in columns.items()
        ]
        super().__init__(rows=list(rows), columns=definitions, row_key="id", selection=selection)
        self.classes("gantry-table w-full").props(f'flat bordered wrap-cells role=group aria-label="{name}"')

    def show(self, rows: Sequence[Row]) -> None:
        """Show these rows. Nothing is sent to the browser if they are the same as before."""
        if rows != self.rows:
            self.rows = list(rows)


def table(
    name: str,
    columns: Mapping[str, tuple[str, str]],
    rows: Sequence[Row],
    selection: Literal["multiple"] | None = None,
) -> LiveTable:
    """Add a table. `columns` maps the keys of a row to heading and kind of cell."""
    return LiveTable(name, columns, rows, selection)
