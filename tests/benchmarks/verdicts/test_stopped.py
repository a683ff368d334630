"""A real short run that is stopped: its verdict, and the check of the verdict."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.verdicts.stopped import SHARES, Stop, body_of, stops, table
from gan.data import ImageDataset
from gan.quality import features
from gan.spec import merged, resolve
from tests.gan.ring import ring


def test_a_run_that_is_stopped_has_no_healthy_verdict_without_evidence() -> None:
    data: ImageDataset = ring()
    small = {"hidden_units": 16}
    body = merged(
        body_of("goodfellow2014", 200),
        {"dataset": "ring", "generator": small, "discriminator": small, "evaluation": {"images": 200}},
    )
    found = stops(resolve(body), data, features.for_dataset(data))
    assert [(stop.share, stop.step) for stop in found] == list(zip(SHARES, (2, 20, 60), strict=True))
    assert all(stop.as_it_should_be for stop in found)
    assert [(stop.verdict, stop.evidence) for stop in found[:1]] == [("unknown", False)]
    assert found[0].message.startswith("Nothing recognisable yet: 2 steps")


def test_a_healthy_verdict_without_evidence_is_not_as_it_should_be() -> None:
    wrong = Stop("cgan", 0.1, 200, "healthy", "Fine.", {}, evidence=False)
    assert not wrong.as_it_should_be and "**NOT SO**" in table([wrong])
    assert replace(wrong, evidence=True).as_it_should_be and replace(wrong, verdict="unknown").as_it_should_be
