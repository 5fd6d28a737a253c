"""Owns the vocabulary of routers: how a token's scores become the experts that it takes and their shares. No torch here."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from vllm.errors import ConfigError

__all__ = ["RouterKind", "Routing"]


class RouterKind(Enum):
    """What the shares of the chosen experts are. The experts with the highest scores are chosen in any case."""

    SOFTMAX = "softmax"
    """The chosen ones' parts of the softmax over all experts: they sum to less than one (Qwen2-MoE, arXiv:2407.10671)."""
    RENORMALISED_SOFTMAX = "renormalised_softmax"
    """The same, divided by their sum: the softmax over the chosen scores alone (Mixtral, arXiv:2401.04088; Qwen3-MoE)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Routing:
    """One layer's router."""

    num_experts: int
    top_k: int
    """Experts that each token takes."""
    kind: RouterKind

    def __post_init__(self) -> None:
        """Raises ConfigError where a token would take more experts than there are, or none."""
        if not 1 <= self.top_k <= self.num_experts:
            raise ConfigError(
                f"Each token takes {self.top_k} of {self.num_experts} experts, which cannot be.",
                cause="num_experts_per_tok and the number of experts in the model's config do not go together",
                remedy="use the config.json that came with the weights, or correct --hf-overrides",
            )
