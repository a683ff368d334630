"""Presets: each is a valid spec, and the fields of a user override it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from gan.spec import BUILTIN_DATASETS, UnknownPresetError, check_against, from_record, preset_spec, resolve
from gan.spec.presets import DEFAULT_PRESET, PRESETS

BODY = {"dataset": "fashion-mnist-mini"}
PAGE: Final = Path(__file__).parents[3] / "docs" / "presets.md"
NUMBERS: Final = "\n## Our numbers and the authors'\n"


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_valid_for_the_built_in_data_sets(name: str) -> None:
    for info in BUILTIN_DATASETS.values():
        spec = preset_spec(name, info.name)
        assert spec.preset == name
        check_against(spec, info)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_names_its_paper(name: str) -> None:
    assert "arXiv:" in PRESETS[name].paper
    assert PRESETS[name].summary


def test_the_default_preset_applies_without_a_preset() -> None:
    assert preset_spec(DEFAULT_PRESET) == resolve({"dataset": "fashion-mnist-mini"})
    assert preset_spec(DEFAULT_PRESET).conditional


def test_a_preset_applies_beside_the_fields_of_the_user() -> None:
    # The preset also applies to the other fields of an object in which the user sets one.
    spec = resolve({"dataset": "fashion-mnist-mini", "optimizers": {"g": {"learning_rate": 1e-3}}})
    assert spec.optimizers.g.schedule == preset_spec(DEFAULT_PRESET).optimizers.g.schedule == "cosine"


def test_a_field_of_the_user_overrides_only_that_field_of_the_preset() -> None:
    spec = resolve({"dataset": "fashion-mnist", "preset": "dcgan", "optimizers": {"g": {"learning_rate": 1e-3}}})
    assert spec.optimizers.g.learning_rate == 1e-3
    assert spec.optimizers.g.beta1 == 0.5
    assert spec.optimizers.d.learning_rate == 2e-4
    assert spec.generator.z_dim == 100
    assert not spec.conditional


def test_overriding_fields_does_not_change_the_preset() -> None:
    before = preset_spec("goodfellow2014")
    resolve({"dataset": "fashion-mnist", "preset": "goodfellow2014", "generator": {"z_dim": 3}})
    assert preset_spec("goodfellow2014") == before


def test_the_two_presets_of_2014_differ_only_in_their_loss() -> None:
    minimax, twin = preset_spec("goodfellow2014"), preset_spec("goodfellow2014-ns")
    assert (minimax.loss.kind, twin.loss.kind) == ("minimax", "non_saturating")
    assert minimax.model_copy(update={"loss": twin.loss, "preset": twin.preset}) == twin


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(UnknownPresetError):
        preset_spec("stylegan9")


def test_fakes_are_shared_by_default_and_fresh_in_the_presets_of_2014() -> None:
    shared, fresh = resolve(BODY), preset_spec("goodfellow2014")
    assert (shared.shares_fakes, fresh.shares_fakes) == (True, False)
    old = {k: v for k, v in shared.model_dump(mode="json").items() if k != "alternation"}
    assert from_record({**old, "alternation": {"unit": "step", "d_steps": 1, "g_steps": 1}}) == shared
    assert not resolve({**BODY, "alternation": {"fakes": "fresh"}}).shares_fakes


class Row(NamedTuple):
    """A row of a table of docs/presets.md that compares a preset with its authors' code."""

    presets: tuple[str, ...]
    setting: str
    ours: str
    theirs: str
    why: str


def rows() -> list[Row]:
    """Return all rows of the tables, in the order of the page."""
    found = []
    for part in PAGE.read_text(encoding="utf-8").split(NUMBERS)[1].split("\n### ")[1:]:
        presets = tuple(re.findall("`([^`]+)`", part.splitlines()[0]))
        for line in part.splitlines():
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if presets and line.startswith("| ") and cells[0] != "setting":
                found.append(Row(presets, *cells))
    return found


def values_at(value: Any, path: list[str]) -> list[Any]:
    """Return the values at `path` of a spec as JSON; a star stands for both networks, or for all items of a list."""
    if not path:
        return [value]
    if path[0] != "*":
        return values_at(value[int(path[0]) if isinstance(value, list) else path[0]], path[1:])
    items = (
        value
        if isinstance(value, list)
        else [value[k] for k in value if k in ("generator", "discriminator", "g", "d")]
    )
    return [found for item in items for found in values_at(item, path[1:])]


def shown(value: Any) -> str:
    """Return a value as the page writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    return "none" if value == [] else str(value)


def is_shown(cell: str, value: Any) -> bool:
    """Return whether a cell of the page shows `value`."""
    numeric = isinstance(value, int | float) and not isinstance(value, bool)
    return float(cell) == value if numeric else cell == shown(value)


def test_the_page_compares_every_preset_with_its_authors() -> None:
    assert sorted({name for row in rows() for name in row.presets}) == sorted(PRESETS)


@pytest.mark.parametrize("row", rows(), ids=lambda row: f"{row.presets[0]} {row.setting}")
def test_the_page_shows_our_numbers_and_gives_a_reason_where_the_authors_differ(row: Row) -> None:
    assert bool(row.why) == (row.ours != row.theirs)
    if row.setting.startswith("`"):
        spec = preset_spec(row.presets[0]).model_dump(mode="json")
        values = values_at(spec, row.setting.strip("`").split("."))
        assert values
        assert all(is_shown(row.ours, value) for value in values), values
