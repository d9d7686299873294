"""Variants print as files of evidence have them, and are read back at one place."""

from __future__ import annotations

import pytest

from lab.collect.version_facts import version_evidence
from lastbit.model.errors import InputError
from lastbit.runtimes import RUNTIMES, Rule, Runtime
from lastbit.runtimes.evidence import evidence_of
from lastbit.runtimes.variant import NO_BIAS, Variant, key_of


def recorded():
    """Every variant that a file of evidence names."""
    for runtime in RUNTIMES:
        yield from (row.variant for row in evidence_of(runtime))
    yield from (result["variant"] for result in version_evidence()["results"])


def test_every_recorded_variant_is_read_and_printed_as_it_was():
    texts = set(recorded())
    assert len(texts) > 80
    for text in texts:
        assert str(Variant.parse(text)) == text


def test_every_variant_of_a_table_has_a_text_of_its_own():
    variants = {variant for runtime in RUNTIMES.values() for _, variant in runtime.rules}
    assert len({str(variant) for variant in variants}) == len(variants)
    assert all(Variant.parse(str(variant)) == variant for variant in variants)


def test_the_fields_of_a_text():
    found = Variant.parse("int16 x int8 -> int16 per_channel weights_zero_point grouped no_bias")
    assert found == Variant("int16", "int16", "int8", "per_channel", True, True, NO_BIAS)
    assert found.per_channel
    assert not found.hybrid
    assert Variant.parse("float32 x int4 -> float32 per_tensor").hybrid


@pytest.mark.parametrize(
    "text", ["int8", "int8 per_tensor grouped weights_zero_point", "int8 x int8 -> int8 per_tensor"]
)
def test_a_text_that_no_variant_prints_as_is_refused(text):
    with pytest.raises(ValueError, match="which none prints as"):
        Variant.parse(text)


def test_a_runtime_with_texts_for_variants_says_what_is_wanted():
    rule = Rule("float32-half_even", "xnnpack")
    with pytest.raises(InputError, match="key_of"):
        Runtime("mine", "", "", "", {("FULLY_CONNECTED", "int8 per_tensor"): rule})  # type: ignore[dict-item]
    assert Runtime("mine", "", "", "", {key_of("FULLY_CONNECTED", "int8 per_tensor"): rule}).dense_only
