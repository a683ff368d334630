"""Named starting points."""

from __future__ import annotations

from fastapi import APIRouter

from api import views
from api.hall import READS
from api.parameters import PageOf
from api.problems import NoSuchPreset
from api.schemas import Listed, PresetView
from gan.spec import PRESETS
from jobs.errors import BadCursor
from jobs.store import pages

router = APIRouter(prefix="/v1/presets", tags=["presets"], dependencies=[READS])


@router.get("")
def list_presets(page: PageOf) -> Listed[PresetView]:
    """What each is, its paper, and its full spec; the default first."""
    names = list(PRESETS)
    if page.cursor is not None:
        last = pages.decode(page.cursor, "presets")
        if last not in names:
            raise BadCursor
        names = names[names.index(last) + 1 :]
    return views.listed(pages.cut(names[: page.limit + 1], page.limit, "presets", str), views.preset)


@router.get("/{name}")
def get_preset(name: str) -> PresetView:
    """One preset."""
    if name not in PRESETS:
        raise NoSuchPreset(name, list(PRESETS))
    return views.preset(name)
