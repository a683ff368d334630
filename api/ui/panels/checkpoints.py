"""Saved states, to download."""

from __future__ import annotations

from typing import Final

from nicegui import ui

from api.ui import files, frame, tables, words
from api.ui.sessions import Desk
from gantry.client import Json

_COLUMNS: Final = {
    "step": ("Step", tables.TEXT),
    "what": ("Which", tables.TEXT),
    "size": ("Whole size", tables.TEXT),
    "created": ("Saved", tables.TEXT),
    "links": ("Download", tables.LINKS),
}
_PARTS: Final = {
    "weights": "part=generator",
    "ONNX": "part=generator&format=onnx",
    "whole": "part=full",
}


class CheckpointsPanel:
    """The table of them."""

    def __init__(self, session: Desk) -> None:
        self._session, self._root = session, frame.address(files.PREFIX)
        with frame.panel():
            frame.section("Checkpoints")
            self._none = ui.label("No checkpoint yet.").props("role=status")
            self._table = tables.table("Checkpoints", _COLUMNS, [])
        self._table.visible = False

    async def refresh(self, job: Json) -> None:
        found = (await self._session.ask(self._session.client.checkpoints, job["id"]))["data"]
        self._none.visible, self._table.visible = not found, bool(found)
        self._table.rows = [row(one, self._root) for one in found]


def row(found: Json, root: str = "") -> tables.Row:
    at = f"{root}/v1/checkpoints/{found['id']}/content"
    which = [word for word, so in (("best", found["is_best"]), ("last", found["is_last"])) if so]
    return {
        "id": found["id"],
        "step": words.count(found["step"]),
        "what": ", ".join(which) or words.NOTHING,
        "size": words.size(found["bytes"]),
        "created": words.ago(found["created_at"]),
        "links": [{"text": text, "href": f"{at}?{query}"} for text, query in _PARTS.items()],
    }
