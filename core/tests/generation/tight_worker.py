"""A worker whose device has room for few tokens of activations: larger steps run out of memory, as the real allocator would say it."""

from __future__ import annotations

import torch

from vllm.messages import StepPlan
from vllm.worker.torch_worker import TorchWorker


class TightWorker(TorchWorker):
    """`additional_config={"room_tokens": N}`: a step of more than N tokens runs out of memory after its inputs were prepared."""

    def _execute(self, plan: StepPlan) -> None:
        super()._execute(plan)
        if plan.total_tokens > self.config.additional_config["room_tokens"]:
            with self._explained(f"a step of {plan.total_tokens} tokens"):
                raise torch.OutOfMemoryError("the test's device is full")

    def _explained(self, activity: str):  # type: ignore[no-untyped-def]
        from vllm.worker.memory_errors import memory_errors_explained

        return memory_errors_explained(self.platform, activity)
