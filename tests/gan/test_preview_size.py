"""The limit for the size of a preview in pixels."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from PIL import Image

from gan.sample import grid_png
from gan.spec import SpecError, TrainSpec, check_against, fields, resolve
from gan.spec.catalog import DatasetClass, DatasetInfo


def spec_with_previews(per_class: int = 8) -> TrainSpec:
    """Return a spec with previews of `per_class` images of each class."""
    return resolve({"dataset": "mine", "preset": "cgan-concat", "previews": {"per_class": per_class}})


def with_classes(count: int, side: int) -> DatasetInfo:
    """Return a data set of `count` classes and images of `side` x `side` pixels."""
    classes = tuple(DatasetClass(id=i, label=f"c{i}", count=40) for i in range(count))
    return DatasetInfo(name="mine", num_images=40 * count, channels=3, height=side, width=side, classes=classes)


@pytest.mark.parametrize(("count", "side"), [(1_000, 128), (1_000, 28), (1_000, 64)])
def test_the_error_of_a_preview_that_is_too_large_names_the_largest_that_fits(count: int, side: int) -> None:
    dataset = with_classes(count, side)
    with pytest.raises(SpecError) as caught:
        check_against(spec_with_previews(per_class=32), dataset)
    (problem,) = caught.value.problems
    assert (problem.pointer, problem.code) == ("/previews/per_class", "preview-too-large")
    found = re.search(r"set previews.per_class to (\d+) or fewer", problem.detail)
    assert found is not None, problem.detail
    fits = int(found[1])
    check_against(spec_with_previews(per_class=fits), dataset)
    with pytest.raises(SpecError, match=f"set previews.per_class to {fits} or fewer"):
        check_against(spec_with_previews(per_class=fits + 1), dataset)


@pytest.mark.parametrize(("rows", "side"), [(3, 128), (5, 28), (8, 20), (10, 57)])
def test_the_computed_size_is_that_of_the_drawn_preview(
    rows: int, side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = 4
    drawn = Image.open(io.BytesIO(grid_png(np.zeros((rows * columns, side, side, 3), np.uint8), rows)))
    # The PNG also has a white gap above and to the left of all tiles.
    pixels = (drawn.width - 2) * (drawn.height - 2)
    monkeypatch.setattr(fields, "MAX_PREVIEW_PIXELS", pixels)
    assert spec_with_previews().most_per_class(rows, side, side) == columns
    if rows == 8:
        unlabelled = resolve({"dataset": "mine", "preset": "cgan-concat", "conditioning": {"kind": "none"}})
        assert unlabelled.most_per_class(2, side, side) == columns


def test_the_largest_preview_of_a_few_classes_is_accepted() -> None:
    check_against(spec_with_previews(per_class=32), with_classes(40, 128))
