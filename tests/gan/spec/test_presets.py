"""Presets: each is a whole spec, its name's promise is kept, and a user's fields lie over it."""

from __future__ import annotations

import pytest

from gan.spec import BUILTIN_DATASETS, UnknownPresetError, check_against, preset_spec, resolve
from gan.spec.presets import DEFAULT_PRESET, PRESETS


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_a_spec_that_the_built_in_data_sets_can_train(name: str) -> None:
    for info in BUILTIN_DATASETS.values():
        spec = preset_spec(name, info.name)
        assert spec.preset == name
        check_against(spec, info)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_names_its_paper(name: str) -> None:
    assert "arXiv:" in PRESETS[name].paper
    assert PRESETS[name].summary


def test_without_a_preset_it_is_the_default_one() -> None:
    assert preset_spec(DEFAULT_PRESET) == resolve({"dataset": "fashion-mnist-mini"})
    assert preset_spec(DEFAULT_PRESET).conditional


def test_a_preset_is_never_less_than_the_spec_with_its_fields() -> None:
    # Fields that a user leaves alone stay the preset's, also beside one that is set.
    spec = resolve({"dataset": "fashion-mnist-mini", "optimizers": {"g": {"learning_rate": 1e-3}}})
    assert spec.optimizers.g.schedule == preset_spec(DEFAULT_PRESET).optimizers.g.schedule == "cosine"


def test_a_users_field_lies_over_the_preset_and_its_neighbours_stay() -> None:
    spec = resolve({"dataset": "fashion-mnist", "preset": "dcgan", "optimizers": {"g": {"learning_rate": 1e-3}}})
    assert spec.optimizers.g.learning_rate == 1e-3
    assert spec.optimizers.g.beta1 == 0.5
    assert spec.optimizers.d.learning_rate == 2e-4
    assert spec.generator.z_dim == 100
    assert not spec.conditional


def test_to_lay_fields_over_a_preset_leaves_the_preset_as_it_was() -> None:
    before = preset_spec("goodfellow2014")
    resolve({"dataset": "fashion-mnist", "preset": "goodfellow2014", "generator": {"z_dim": 3}})
    assert preset_spec("goodfellow2014") == before


def test_the_first_gans_differ_in_their_loss_alone() -> None:
    minimax, twin = preset_spec("goodfellow2014"), preset_spec("goodfellow2014-ns")
    assert (minimax.loss.kind, twin.loss.kind) == ("minimax", "non_saturating")
    assert minimax.model_copy(update={"loss": twin.loss, "preset": twin.preset}) == twin


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(UnknownPresetError):
        preset_spec("stylegan9")
