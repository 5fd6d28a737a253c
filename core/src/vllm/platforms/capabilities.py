"""Owns the vocabulary of optional features, and the five answers that a platform can give about each.

Looked up while the configuration is checked: what a device cannot do fails before weights are loaded, with the reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from vllm.errors import ConfigError
from vllm.logger import init_logger

__all__ = ["Capability", "Feature", "Support", "require"]

logger = init_logger(__name__)


class Feature(Enum):
    """What a platform may or may not do. The value is the name that users read, and the key in reports."""

    CHUNKED_PREFILL = "chunked_prefill"
    PREFIX_CACHING = "prefix_caching"
    TENSOR_PARALLEL = "tensor_parallel"
    GRAPH_CAPTURE = "graph_capture"
    ASYNC_SCHEDULING = "async_scheduling"
    SLIDING_WINDOW = "sliding_window"
    LOGITS_SOFT_CAP = "logits_soft_cap"
    STRUCTURED_OUTPUT = "structured_output"
    CUSTOM_LOGITS_PROCESSORS = "custom_logits_processors"
    SPECULATIVE_DECODING = "speculative_decoding"
    LORA = "lora"
    QUANTIZATION = "quantization"
    QUANTIZED_KV_CACHE = "quantized_kv_cache"
    MIXTURE_OF_EXPERTS = "mixture_of_experts"
    POOLING = "pooling"
    SLEEP_MODE = "sleep_mode"
    KV_TRANSFER = "kv_transfer"
    STEP_RECOVERY = "step_recovery"
    """An error in a step costs the step: see `Platform.survives`."""
    FLOAT32 = "float32"
    """Asked only of a platform whose `supported_dtypes` leave it out: the sharpest laws are in float32, so that it needs a reason."""

    @property
    def words(self) -> str:
        """The name inside a sentence: "chunked prefill"."""
        return "LoRA" if self is Feature.LORA else self.value.replace("_", " ").replace("kv", "KV")


class Support(Enum):
    """The five kinds of answer."""

    FULL = "full"
    PARTIAL = "partial"
    NOT_YET = "not yet"
    UNSUPPORTED = "unsupported"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Capability:
    """One answer. `why` is a clause: what is limited, missing or impossible; empty only for full and unknown.

    Made by `Capability.full()`, `.partial(why)`, `.not_yet(why)`, `.unsupported(why)`, `.unknown()`.
    """

    support: Support
    why: str = ""

    def __post_init__(self) -> None:
        wants_reason = self.support not in (Support.FULL, Support.UNKNOWN)
        if wants_reason != bool(self.why.strip()):
            rule = "needs a reason" if wants_reason else "takes no reason"
            raise ConfigError(f"A capability that is {self.support.value!r} {rule}, got {self.why!r}.")

    @classmethod
    def full(cls) -> Capability:
        """Works, under every law of the conformance kit."""
        return cls(Support.FULL)

    @classmethod
    def partial(cls, why: str) -> Capability:
        """Works within limits that `why` states."""
        return cls(Support.PARTIAL, why)

    @classmethod
    def not_yet(cls, why: str) -> Capability:
        """The device could, the plugin cannot yet."""
        return cls(Support.NOT_YET, why)

    @classmethod
    def unsupported(cls, why: str) -> Capability:
        """The device cannot."""
        return cls(Support.UNSUPPORTED, why)

    @classmethod
    def unknown(cls) -> Capability:
        """The platform does not say; counts as absent."""
        return cls(Support.UNKNOWN)

    @property
    def is_usable(self) -> bool:
        """Whether the feature may be switched on: full or partial."""
        return self.support in (Support.FULL, Support.PARTIAL)

    def __str__(self) -> str:
        return f"{self.support.value} ({self.why})" if self.why else self.support.value


def require(feature: Feature, capability: Capability, *, platform: str, option: str | None = None) -> None:
    """Pass if `platform` can do `feature`, saying its limits once in the log; `option` is what asked for it.

    Raises:
        ConfigError: the platform cannot, cannot yet, or does not say.
    """
    if capability.support is Support.PARTIAL:
        logger.warning_once("The platform %s does %s with limits: %s.", platform, feature.words, capability.why)
    if capability.is_usable:
        return
    asked = f"{option} asks for {feature.words}" if option else f"{feature.words} is asked for"
    raise ConfigError(f"{asked}, {_refusal(platform, capability)}", remedy=_remedy(platform, capability, option))


def _refusal(platform: str, capability: Capability) -> str:
    return {
        Support.NOT_YET: f"which the platform {platform} does not do yet: {capability.why}.",
        Support.UNSUPPORTED: f"which the platform {platform} cannot do: {capability.why}.",
        Support.UNKNOWN: f"but the platform {platform} does not say whether it can do that, which counts as no.",
    }[capability.support]


def _remedy(platform: str, capability: Capability, option: str | None) -> str:
    leave_out = f"leave {option} out" if option else "do not ask for it"
    return {
        Support.NOT_YET: f"{leave_out}, or look for a newer release of the plugin {platform}",
        Support.UNSUPPORTED: f"{leave_out}, or choose another platform",
        Support.UNKNOWN: f"{leave_out}, or let the plugin's author declare it in Platform.capabilities()",
    }[capability.support]
