"""Presets: named specs to start from."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Response

from api.context import READS
from api.http.errors import NoSuchPresetError
from api.http.parameters import Fields, PageOf, fields_of
from api.schemas.base import Listed
from api.schemas.presets import PresetView
from api.views.base import list_view
from api.views.presets import preset_view
from gan.spec import PRESETS
from jobs.errors import BadCursorError
from jobs.store import pages

router = APIRouter(prefix="/v1/presets", tags=["presets"], dependencies=[READS])


@router.get("", response_model=Listed[PresetView])
def list_presets(page: PageOf, fields: Annotated[Fields, fields_of(PresetView)]) -> Response:
    """List all presets with their papers and complete specs; the default preset is the first."""
    names = list(PRESETS)
    if page.cursor is not None:
        last = pages.decode(page.cursor, "presets")
        if last not in names:
            raise BadCursorError
        names = names[names.index(last) + 1 :]
    return list_view(pages.cut(names[: page.limit + 1], page.limit, "presets", str), preset_view, fields)


@router.get("/{name}")
def get_preset(name: str) -> PresetView:
    """Return one preset."""
    if name not in PRESETS:
        raise NoSuchPresetError(name, list(PRESETS))
    return preset_view(name)
