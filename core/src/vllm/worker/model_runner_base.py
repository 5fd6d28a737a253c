"""The ModelRunner contract: turns plans into forward passes and tokens on one device.

`execute` = apply the plan's deltas, prepare inputs, forward; `sample` = logits, processors, tokens. They are separate calls so that grammar
masks are computed while the forward runs.
"""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    import torch

    from vllm.messages import Int32Array, StepOutput, StepPlan
    from vllm.worker.kv_cache_spec import KVCacheConfig, KVCacheGroup

__all__ = ["ModelRunnerBase"]

InputsT = TypeVar("InputsT")


class ModelRunnerBase(abc.ABC, Generic[InputsT]):
    """`InputsT` is the runner's own type for one step's prepared inputs."""

    model: Any
    """The loaded model, after `load_model`."""

    @abc.abstractmethod
    def load_model(self) -> None:
        """Build the model on the device and load its weights."""

    @abc.abstractmethod
    def kv_cache_groups(self) -> tuple[KVCacheGroup, ...]:
        """Caches that the loaded model needs on this rank."""

    @abc.abstractmethod
    def initialize_kv_cache(self, kv_cache_config: KVCacheConfig) -> None:
        """Allocate cache, block tables and the persistent batch, once."""

    @abc.abstractmethod
    def profile_run(self) -> None:
        """Run the largest step (max_num_batched_tokens tokens, max_num_seqs sampling rows) without a cache, for memory profiling."""

    @abc.abstractmethod
    def prepare_inputs(self, plan: StepPlan) -> InputsT:
        """Apply the plan's deltas to the persistent batch and build the step's inputs. No Python per row in a steady decode."""

    @abc.abstractmethod
    def forward(self, inputs: InputsT) -> torch.Tensor:
        """Hidden states [rows that need logits, hidden], on the device; may return before the device is done."""

    @abc.abstractmethod
    def sample(self, hidden_NH: torch.Tensor, inputs: InputsT, grammar_mask_GW: Int32Array | None) -> StepOutput:
        """Tokens (and log-probabilities) of the step; keeps the last token of every slot on the device for the next step."""

    def warm_up(self) -> None:
        """Compile or capture the step shapes; default: nothing."""

    def free_kv_cache(self) -> None:
        """Give back the cache's memory, and recordings that hold it: sleep mode. `restore_kv_cache` and `warm_up` follow."""
        raise NotImplementedError(f"{type(self).__name__} declares no sleep mode")

    def restore_kv_cache(self) -> None:
        """Allocate the cache again, as large as before and empty; block tables and the persistent batch have stayed."""
        raise NotImplementedError(f"{type(self).__name__} declares no sleep mode")
