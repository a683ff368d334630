"""Named starting points."""

from __future__ import annotations

from fastapi import APIRouter

from api import views
from api.context import READS
from api.http.errors import NoSuchPresetError
from api.http.parameters import PageOf
from api.schemas import Listed, PresetView
from gan.spec import PRESETS
from jobs.errors import BadCursorError
from jobs.store import pages

router = APIRouter(prefix="/v1/presets", tags=["presets"], dependencies=[READS])


@router.get("")
def list_presets(page: PageOf) -> Listed[PresetView]:
    """What each is, its paper, and its full spec; the default first."""
    names = list(PRESETS)
    if page.cursor is not None:
        last = pages.decode(page.cursor, "presets")
        if last not in names:
            raise BadCursorError
        names = names[names.index(last) + 1 :]
    return views.listed(pages.cut(names[: page.limit + 1], page.limit, "presets", str), views.preset)


@router.get("/{name}")
def get_preset(name: str) -> PresetView:
    """One preset."""
    if name not in PRESETS:
        raise NoSuchPresetError(name, list(PRESETS))
    return views.preset(name)
