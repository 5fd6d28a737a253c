"""The list of laws is whole: every op has one, names are unique, every feature that a law needs can be declined."""

from __future__ import annotations

from collections import Counter

from vllm.model_executor.custom_op import native_ops
from vllm.platforms import Feature
from vllm.testing.catalogue import AREAS, all_laws
from vllm.testing.report import Measurement
from vllm.testing.tolerances import TOLERANCES


def test_every_native_op_has_a_law() -> None:
    laws = {law.name for law in all_laws() if law.area == "ops"}
    assert {name for name in native_ops() if name not in laws} == {"sampler"}, "the sampler has an area of its own"


def test_names_are_unique_and_areas_in_order() -> None:
    laws = all_laws()
    assert [name for name, count in Counter(law.full_name for law in laws).items() if count > 1] == []
    assert tuple(dict.fromkeys(law.area for law in laws)) == AREAS


def test_sentences_are_sentences() -> None:
    for law in all_laws():
        assert law.sentence.endswith("."), law.full_name


def test_the_claims_that_a_platform_can_make_have_laws() -> None:
    """Those without a law so far belong to features that the core itself does not have yet."""
    tested = {feature for law in all_laws() for feature in law.needs}
    assert set(Feature) - tested == {
        Feature.SPECULATIVE_DECODING,
        Feature.LORA,
        Feature.QUANTIZED_KV_CACHE,
        Feature.POOLING,
        Feature.KV_TRANSFER,
        Feature.FLOAT32,  # is itself the reason for leaving a dtype out: contract.dtypes_are_declared
    }


def test_an_exact_limit_is_broken_by_any_error() -> None:
    assert Measurement(what="x", error=0.0, limit=0.0).share == 0
    assert Measurement(what="x", error=1e-9, limit=0.0).share > 1


def test_only_fp32_wants_equal_tokens() -> None:
    assert [name for name, tolerance in TOLERANCES.items() if tolerance.tokens_are_equal] == ["float32"]
