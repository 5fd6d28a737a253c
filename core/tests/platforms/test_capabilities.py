"""The five answers about a feature, and the sentence a user gets when the answer is no."""

from __future__ import annotations

import pytest

from vllm.errors import ConfigError
from vllm.platforms.capabilities import Capability, Feature, Support, require


@pytest.mark.parametrize("make", [Capability.partial, Capability.not_yet, Capability.unsupported])
@pytest.mark.parametrize("why", ["", "  "])
def test_a_limit_needs_a_reason(make, why: str) -> None:
    with pytest.raises(ConfigError, match="needs a reason"):
        make(why)


@pytest.mark.parametrize("support", [Support.FULL, Support.UNKNOWN])
def test_full_and_unknown_take_no_reason(support: Support) -> None:
    with pytest.raises(ConfigError, match="takes no reason"):
        Capability(support, "because")


def test_which_answers_allow_use() -> None:
    allowed = [Capability.full(), Capability.partial("rank 8 at most")]
    refused = [Capability.not_yet("no kernels"), Capability.unsupported("no memory"), Capability.unknown()]
    for capability in allowed:
        require(Feature.LORA, capability, platform="chip")
    for capability in refused:
        with pytest.raises(ConfigError):
            require(Feature.LORA, capability, platform="chip")


REFUSALS = {
    "not yet": (
        Capability.not_yet("the adapter kernels are not written"),
        "--enable-lora asks for LoRA, which the platform chip does not do yet: the adapter kernels are not written.\n"
        "  Remedy: leave --enable-lora out, or look for a newer release of the plugin chip",
    ),
    "unsupported": (
        Capability.unsupported("shapes are fixed at compile time"),
        "--enable-lora asks for LoRA, which the platform chip cannot do: shapes are fixed at compile time.\n"
        "  Remedy: leave --enable-lora out, or choose another platform",
    ),
    "unknown": (
        Capability.unknown(),
        "--enable-lora asks for LoRA, but the platform chip does not say whether it can do that, which counts as no.\n"
        "  Remedy: leave --enable-lora out, or let the plugin's author declare it in Platform.capabilities()",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_the_sentence(case: str) -> None:
    capability, expected = REFUSALS[case]
    with pytest.raises(ConfigError) as caught:
        require(Feature.LORA, capability, platform="chip", option="--enable-lora")
    assert str(caught.value) == expected


def test_features_read_as_words() -> None:
    assert [feature.words for feature in (Feature.CHUNKED_PREFILL, Feature.LORA, Feature.QUANTIZED_KV_CACHE)] == [
        "chunked prefill",
        "LoRA",
        "quantized KV cache",
    ]


def test_a_capability_prints_for_a_report() -> None:
    assert str(Capability.full()) == "full"
    assert str(Capability.partial("rank 8 at most")) == "partial (rank 8 at most)"
