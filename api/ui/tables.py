"""Tables whose rows are updated in place, so that scroll position and keyboard focus stay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from nicegui import ui

Row = dict[str, Any]

TEXT: Final = "<span>{{ props.value }}</span>"
LINK: Final = '<a class="gantry-link" :href="props.row.href">{{ props.value }}</a>'
BADGE: Final = (
    '<q-badge :color="props.row[props.col.name + \'_colour\']" class="q-pa-xs q-mr-sm">{{ props.value }}</q-badge>'
    '<span class="gantry-dim" v-if="props.row[props.col.name + \'_why\']">'
    "{{ props.row[props.col.name + '_why'] }}</span>"
)
BAR: Final = (
    '<div style="min-width: 7rem; width: 100%">'
    '<q-linear-progress :value="props.row.fraction" rounded size="8px"'
    " :aria-label=\"'Progress of ' + props.row.title\" />"
    '<span class="text-xs">{{ props.value }}</span></div>'
)
IMAGE: Final = (
    '<img class="gantry-thumb" loading="lazy" :src="props.value" :alt="\'Last preview of \' + props.row.title">'
)
SPARK: Final = (
    '<img class="gantry-spark" loading="lazy" width="98" height="38" :src="props.value" '
    ":alt=\"'Losses of ' + props.row.title\">"
)
LINKS: Final = (
    '<span v-for="link in props.value" :key="link.href">'
    '<a class="gantry-link q-mr-md" :href="link.href" download>{{ link.text }}</a></span>'
)
BUTTON: Final = (
    '<q-btn v-if="props.value" outline dense no-caps color="primary" class="q-px-sm" :label="props.value" '
    ':aria-label="props.value + \' \' + props.row.title" @click="$parent.$emit(props.col.name, props.row.id)" />'
)
"""A button that emits an event with the name of the column and the id of the row."""
_CHECKBOX: Final = '<q-checkbox v-model="props.selected" :aria-label="\'Select \' + props.row.title" />'


def table(
    name: str,
    columns: Mapping[str, tuple[str, str]],
    rows: Sequence[Row],
    selection: Literal["multiple"] | None = None,
) -> ui.table:
    """Add a table. `columns` maps the keys of a row to heading and cell template. On a telephone a row is a card."""
    definitions = [
        {"name": key, "label": label, "field": key, "align": "left"} for key, (label, _) in columns.items()
    ]
    element = ui.table(rows=list(rows), columns=definitions, row_key="id", selection=selection)
    element.classes("gantry-table w-full").props(f'flat bordered wrap-cells role=group aria-label="{name}"')
    for key, (_, cell) in columns.items():
        element.add_slot(f"body-cell-{key}", f'<q-td :props="props" :data-label="props.col.label">{cell}</q-td>')
    if selection is not None:
        element.add_slot("header-selection", '<q-checkbox v-model="props.selected" aria-label="Select all rows" />')
        element.add_slot("body-selection", _CHECKBOX)
    return element
