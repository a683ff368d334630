"""The declaration of the families: complete, and in step with the networks and with the fields of a spec."""

from __future__ import annotations

from typing import get_args

from gan.architectures import NETWORKS
from gan.spec.families import FAMILIES, OPTIONAL_FIELDS, Architecture, families_with
from gan.spec.networks import DiscriminatorSpec, GeneratorSpec


def test_each_family_has_facts_and_networks() -> None:
    assert list(FAMILIES) == list(NETWORKS) == list(get_args(Architecture))


def test_the_optional_fields_are_those_that_some_families_do_not_read() -> None:
    assert set(OPTIONAL_FIELDS) == {field for family in FAMILIES.values() for field in family.fields}
    assert all(len(families_with(field)) < len(FAMILIES) for field in OPTIONAL_FIELDS)


def test_the_optional_fields_are_fields_of_both_networks_or_of_d_alone() -> None:
    assert set(OPTIONAL_FIELDS) <= DiscriminatorSpec.model_fields.keys()
    assert set(OPTIONAL_FIELDS) - GeneratorSpec.model_fields.keys() == {"inner_channels"}
