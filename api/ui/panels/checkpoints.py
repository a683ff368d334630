"""The checkpoints of a job, with downloads."""

from __future__ import annotations

from typing import Final

from nicegui import ui

from api.ui import files, formatting, frame, tables
from api.ui.sessions import BrowserSession
from gantry.client import Json

_COLUMNS: Final = {
    "step": ("Step", tables.TEXT),
    "kind": ("Kind", tables.TEXT),
    "size": ("Full size", tables.TEXT),
    "created": ("Saved", tables.TEXT),
    "links": ("Download", tables.LINKS),
}
_PARTS: Final = {
    "weights": "part=generator",
    "ONNX": "part=generator&format=onnx",
    "full": "part=full",
}


class CheckpointsPanel:
    """The table of checkpoints."""

    def __init__(self, session: BrowserSession) -> None:
        self._session, self._root = session, frame.mounted(files.PREFIX)
        with frame.panel():
            frame.section("Checkpoints")
            self._none = ui.label("No checkpoint yet.").props("role=status")
            self._table = tables.table("Checkpoints", _COLUMNS, [])
        self._table.visible = False

    async def refresh(self, job: Json) -> None:
        """Update the panel to the current state of the job."""
        found = (await self._session.call(self._session.client.checkpoints, job["id"]))["data"]
        self._none.visible, self._table.visible = not found, bool(found)
        self._table.show([row(one, self._root) for one in found])


def row(found: Json, root: str = "") -> tables.Row:
    """Return a checkpoint as a table row; `root` is the URL prefix of downloads."""
    url = f"{root}/v1/checkpoints/{found['id']}/content"
    kinds = [kind for kind, applies in (("best", found["is_best"]), ("last", found["is_last"])) if applies]
    return {
        "id": found["id"],
        "title": f"the checkpoint at step {formatting.count(found['step'])}",
        "step": formatting.count(found["step"]),
        "kind": ", ".join(kinds) or formatting.NO_VALUE,
        "size": formatting.size(found["bytes"]),
        "created": formatting.ago(found["created_at"]),
        "links": [{"text": text, "href": f"{url}?{query}"} for text, query in _PARTS.items()],
    }
