"""Two of the jobs that are made to fail, in short: found, and their remedies lead to a job that is healthy.

`make failures` runs all of them at length, each with its remedy.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.failures import (
    JOBS,
    FailureRow,
    Trial,
    data_of,
    keep,
    kept,
    shuffled,
    table,
    trial,
)
from gan.data import ImageDataset
from gan.findings import Code, FindingEvidence, HealthFinding, SpecChange, remedied
from gan.quality import features
from gan.quality.features import FeatureNet
from gan.spec import merged, resolve

STEPS = 240


def rates(g: float, d: float) -> dict[str, Any]:
    return {"optimizers": {"g": {"learning_rate": g}, "d": {"learning_rate": d}}}


# Long enough for G to draw clothes, which take it half of the time: until then nothing is judged.
HEALTHY: dict[str, Any] = {
    "dataset": "fashion-mnist-mini",
    "preset": "cgan-concat",
    "seed": 1,
    "total_steps": STEPS,
    "generator": {"base_channels": 16},
    "discriminator": {"base_channels": 16},
    "evaluation": {"every_steps": STEPS // 3, "images": 150},
    "safeguards": {"every_steps": 20, "probe_every_steps": STEPS // 3, "thresholds": {"warm_up_most": 0.6}},
    "previews": {"every_steps": STEPS},
    "checkpoints": {"every_steps": STEPS},
    "resources": {"precision": "fp32"},
}
FAILING: dict[str, tuple[Code, dict[str, Any]]] = {
    "D far too strong": ("vanishing_gradients", rates(g=2e-5, d=2e-2)),
    "learning rates far too high": ("never_learned", rates(g=1.0, d=1.0)),
}


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def data() -> ImageDataset:
    return data_of("healthy")


@pytest.fixture(scope="module")
def net(data: ImageDataset) -> FeatureNet:
    return features.for_dataset(data)


@pytest.mark.parametrize("name", FAILING)
def test_a_job_that_fails_is_found_and_its_remedy_is_the_healthy_job(
    name: str, data: ImageDataset, net: FeatureNet
) -> None:
    code, changes = FAILING[name]
    body = merged(HEALTHY, changes)
    run = trial(body, data, net)
    finding = run.first((code,))
    assert finding is not None
    assert 1 <= finding.began_at_step <= finding.found_at_step <= STEPS
    assert run.verdict == "failing"
    assert run.metrics["coverage"] < 0.05
    assert resolve(remedied(body, finding)) == resolve(HEALTHY)


def test_the_healthy_job_raises_nothing(data: ImageDataset, net: FeatureNet) -> None:
    run = trial(HEALTHY, data, net)
    assert run.healthy
    assert [finding.code for finding in run.raised] == []
    assert run.metrics["label_accuracy"] > 0.4


FOUND = HealthFinding(
    "vanishing_gradients", "warning", 100, 200, "D wins.", (FindingEvidence("loss_d", 0.01, 0.1),),
    (SpecChange("/optimizers/d/learning_rate", 2e-4, "Slower."),),
)  # fmt: skip
OTHER = HealthFinding("past_best", "warning", 1, 2, "Past.", (), ())
FAILS = Trial("warning", (OTHER, FOUND), {"fcd": 50.0, "coverage": 0.0}, 1.0)
CURED = Trial("healthy", (), {"fcd": 5.0, "coverage": 0.2}, 1.0)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (FailureRow("D far too strong", FAILS, CURED), True),
        (FailureRow("D far too strong", FAILS, FAILS), False),
        (FailureRow("D far too strong", FAILS, Trial("healthy", (FOUND,), {}, 1.0)), False),
        (FailureRow("D far too strong", CURED, None), False),
        (FailureRow("healthy", CURED, None), True),
        (FailureRow("healthy", Trial("healthy", (OTHER,), {}, 1.0), None), False),
        (FailureRow("healthy", Trial("diverged", (), {}, 1.0), None), False),
    ],
)
def test_a_row_is_as_it_should_be_when_found_and_cured(row: FailureRow, expected: bool, tmp_path: Path) -> None:
    assert row.as_it_should_be is expected
    assert ("NOT SO" in table([row])) is not expected
    keep(tmp_path, row)
    assert kept(tmp_path, row.job) == row


def test_the_table_shows_what_was_found_and_the_remedy() -> None:
    line = table([FailureRow("D far too strong", FAILS, CURED)]).splitlines()[-1]
    for part in ("vanishing_gradients", "began 100", "loss_d 0.01", "/optimizers/d/learning_rate", "past_best"):
        assert part in line


def test_shuffled_labels_are_the_same_labels_of_other_images(data: ImageDataset) -> None:
    mixed = shuffled(data)
    assert data.labels is not None and mixed.labels is not None
    assert torch.equal(mixed.images, data.images)
    assert torch.equal(mixed.labels.sort().values, data.labels.sort().values)
    assert float((mixed.labels == data.labels).float().mean()) < 0.2
    assert mixed.info.sha256 is None
    assert [name for name, job in JOBS.items() if job.shuffled] == ["labels shuffled"]
