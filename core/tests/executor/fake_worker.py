"""A worker without a model: its tokens are arithmetic on the plan, and a slot's request id orders it to misbehave.

The platform beside it needs no torch, so that a worker process starts in the time of numpy's import.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from vllm.config import ModelConfig, ParallelConfig, SchedulerConfig, VllmConfig
from vllm.errors import ConfigError, VllmError
from vllm.messages import NewSlot, StepOutput, StepPlan
from vllm.platforms.capabilities import Capability, Feature
from vllm.platforms.interface import Platform
from vllm.sampling_params import SamplingParams
from vllm.worker.kv_cache_spec import KVCacheConfig, KVCacheGroup, KVCacheSpec
from vllm.worker.worker_base import WorkerBase

HERE = __name__


class FakePlatform(Platform):
    """Just enough of a platform to load a worker."""

    name = "fake"
    device_type = "cpu"

    def get_device_name(self, device_id: int = 0) -> str:
        return "fake"

    def memory_info(self, device_id: int = 0) -> tuple[int, int]:
        return 1, 1

    def supported_dtypes(self) -> tuple[str, ...]:
        return ("float32",)

    def get_attn_backend_cls(self) -> str:
        return ""

    def capabilities(self) -> Mapping[Feature, Capability]:
        return {}

    def get_worker_cls(self) -> str:
        return f"{HERE}.FakeWorker"


class UnpicklableError(Exception):
    """Cannot be rebuilt from its args."""

    def __init__(self, one: int, *, two: int) -> None:
        super().__init__(f"{one} and {two}")


class CallsWorkers:
    """What tests ask through collective_rpc by name; mixed in as an extension."""

    rank: int
    threads: set[int]

    def shout(self, text: str, times: int = 1) -> str:
        return f"{self.rank}:{text.upper() * times}"


class FakeWorker(WorkerBase):
    """Answers every sampling row with `100 * slot + num_computed`, plus the first word of its grammar mask."""

    def __init__(self, config: VllmConfig, *, rank: int, local_rank: int, init_method: str) -> None:
        super().__init__(config, rank=rank, local_rank=local_rank, init_method=init_method)
        self.threads = {threading.get_ident()}
        self.steps_run: list[int] = []
        if config.additional_config.get("refuse_rank") == rank:
            raise ConfigError(f"no model in folder {config.model_config.model}", remedy="look for it")

    def _init_device(self) -> None:
        self.threads.add(threading.get_ident())

    def _load_model(self) -> None:
        if self.config.additional_config.get("load_error_rank") == self.rank:
            raise FileNotFoundError("weights are gone")

    def _kv_cache_groups(self) -> tuple[KVCacheGroup, ...]:
        heads = 2 + self.rank if self.config.additional_config.get("uneven") else 2
        spec = KVCacheSpec(block_size=16, num_kv_heads=heads, head_size=8, dtype="float32", bytes_per_block=4096)
        return (KVCacheGroup(layer_names=("layers.0",), spec=spec),)

    def _determine_available_memory(self) -> int:
        return 1000 - self.rank

    def _initialize_kv_cache(self, kv_cache_config: KVCacheConfig) -> None:
        self.kv_cache_config = kv_cache_config

    def _execute(self, plan: StepPlan) -> None:
        self.threads.add(threading.get_ident())
        self.steps_run.append(plan.step)
        self.plan = plan
        for new in plan.new:
            self._obey(new.request_id)

    def _obey(self, order: str) -> None:
        """ "raise@1" raises on rank 1, and so on."""
        what, _, rank = order.partition("@")
        if rank != str(self.rank):
            return
        if what == "raise":
            raise ZeroDivisionError("bad step")
        if what == "unpicklable":
            raise UnpicklableError(1, two=2)
        if what == "hang":
            threading.Event().wait()
        if what == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if what == "exit":
            os._exit(3)

    def _sample(self, grammar_mask_GW: np.ndarray | None) -> StepOutput:
        plan = self.plan
        token_ids = 100 * plan.slots_N + plan.num_computed_N
        if grammar_mask_GW is not None:
            at = [list(plan.slots_N).index(slot) for slot in plan.grammar_rows_G]
            token_ids[at] += grammar_mask_GW[:, 0]
        sampled = plan.samples_N
        return StepOutput(
            step=plan.step,
            slots_N=plan.slots_N[sampled],
            counts_N=np.ones(int(sampled.sum()), np.int32),
            token_ids_M=token_ids[sampled].astype(np.int32),
        )

    def _model(self) -> Any:
        return f"model of rank {self.rank}"

    def _check_health(self) -> None:
        if self.config.additional_config.get("sick"):
            raise VllmError("the device has a fever")

    def _shutdown(self) -> None:
        note = self.config.additional_config.get("shutdown_note")
        if note:
            with open(f"{note}.{self.rank}", "a") as file:  # noqa: PTH123 - one short line
                file.write("shutdown\n")
        if self.config.additional_config.get("slow_shutdown"):
            time.sleep(60)


def fake_config(
    world_size: int = 1, *, backend: str = "uni", async_scheduling: bool = False, **orders: Any
) -> VllmConfig:
    return VllmConfig(
        model_config=ModelConfig(model="nowhere", served_model_name="fake", tokenizer="nowhere"),
        parallel_config=ParallelConfig(tensor_parallel_size=world_size, distributed_executor_backend=backend),
        scheduler_config=SchedulerConfig(async_scheduling=async_scheduling),
        platform=f"{HERE}.FakePlatform",
        additional_config=orders,
    )


def plan_of(
    step: int, rows: int = 3, *, order: str | None = None, grammar: tuple[int, ...] = (), prompt_tokens: int = 4
) -> StepPlan:
    """Rows 0 … rows-1; the last one yields no token."""
    samples = np.ones(rows, np.bool_)
    samples[-1] = False
    return StepPlan(
        step=step,
        slots_N=np.arange(rows, dtype=np.int32),
        num_computed_N=np.full(rows, 7 + step, np.int32),
        num_scheduled_N=np.ones(rows, np.int32),
        samples_N=samples,
        total_tokens=rows,
        freed_slots=np.empty(0, np.int32),
        new=() if order is None else (new_slot(order, prompt_tokens),),
        grammar_rows_G=np.array(grammar, np.int32),
    )


def new_slot(request_id: str, prompt_tokens: int = 4) -> NewSlot:
    return NewSlot(
        slot=0,
        request_id=request_id,
        token_ids=np.arange(prompt_tokens, dtype=np.int32),
        num_prompt_tokens=prompt_tokens,
        num_computed_tokens=0,
        block_ids=np.array([1], np.int32),
        sampling=SamplingParams(),
        seed=1,
        max_tokens=8,
    )
