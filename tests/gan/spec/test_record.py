"""Specs that earlier versions have written out: each is read with the meaning that it had."""

from __future__ import annotations

from typing import Final

import pytest

from gan.spec import from_record, resolve

BODY: Final = {"dataset": "fashion-mnist-mini", "preset": "cgan-concat"}


def test_a_spec_of_version_one_is_read_without_evaluations() -> None:
    current = resolve({**BODY, "evaluation": {"enabled": False}})
    conditioning = {"kind": "concat", "embedding_dim": 32}
    first = {**BODY, "spec_version": 1, "conditioning": conditioning}
    assert from_record(first) == current


@pytest.mark.parametrize("preset", ["sngan-projection", "sagan"])
def test_a_spec_from_before_the_layers_of_the_authors_code_keeps_its_networks(preset: str) -> None:
    record = resolve({**BODY, "preset": preset}).model_dump(mode="json")
    later = ("attention_pooling", "inner_channels")
    for network in ("generator", "discriminator"):
        record[network] = {name: value for name, value in record[network].items() if name not in later}
    spec = from_record(record)
    assert not spec.generator.attention_pooling
    assert not spec.discriminator.attention_pooling
    assert spec.discriminator.inner_channels == "output"
