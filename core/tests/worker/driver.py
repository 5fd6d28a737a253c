"""Owns a naive scheduler for the worker's tests: explicit requests, explicit slots, scattered blocks, one plan at a time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import vllm
from vllm.config import CompilationConfig, ModelConfig, SchedulerConfig, VllmConfig
from vllm.messages import Int32Array, NewSlot, PromptLogprobs, StepOutput, StepPlan
from vllm.sampling_params import SamplingParams
from vllm.worker.kv_cache_spec import KVCacheConfig
from vllm.worker.torch_worker import TorchWorker

TINY = Path(vllm.__file__).parent / "assets" / "tiny"
BLOCK_SIZE = 16
NUM_BLOCKS = 64
PLATFORMS = "core.tests.worker.host_platform"


def tiny_config(platform: str = "HostPlatform", capture_sizes: tuple[int, ...] = (), **model: Any) -> VllmConfig:
    """The embedded model in fp32 with 8 slots."""
    hf_config = json.loads((TINY / "config.json").read_text())
    return VllmConfig(
        model_config=ModelConfig(
            model=str(TINY),
            served_model_name="tiny",
            tokenizer=str(TINY),
            architecture=hf_config["architectures"][0],
            hf_config=hf_config,
            vocab_size=hf_config["vocab_size"],
            **{"dtype": "float32", "max_model_len": 256, **model},
        ),
        scheduler_config=SchedulerConfig(max_num_seqs=8, max_num_batched_tokens=64),
        compilation_config=CompilationConfig(capture_sizes=capture_sizes),
        platform=f"{PLATFORMS}.{platform}",
    )


def start_worker(config: VllmConfig) -> TorchWorker:
    """A worker that is ready for steps."""
    worker = TorchWorker(config, rank=0, local_rank=0, init_method="")
    worker.init_device()
    worker.load_model()
    groups = worker.kv_cache_groups()
    worker.initialize_kv_cache(KVCacheConfig(num_blocks=NUM_BLOCKS, block_size=BLOCK_SIZE, groups=groups))
    worker.warm_up()
    return worker


@dataclass
class Request:
    """What a test wants generated, and what came out."""

    prompt: Sequence[int]
    params: SamplingParams = field(default_factory=lambda: SamplingParams(temperature=0.0))
    seed: int = 0
    num_tokens: int = 6
    stop_token_ids: tuple[int, ...] = ()
    bad_words_token_ids: tuple[tuple[int, ...], ...] = ()
    outputs: list[int] = field(default_factory=list)
    logprobs: list[dict[int, float]] = field(default_factory=list)
    prompt_logprobs: list[PromptLogprobs] = field(default_factory=list)
    computed: int = 0
    slot: int | None = None
    blocks: list[int] = field(default_factory=list)

    @property
    def tokens(self) -> list[int]:
        return [*self.prompt, *self.outputs]

    @property
    def is_done(self) -> bool:
        return len(self.outputs) >= self.num_tokens


class Driver:
    """Runs requests on a worker. Blocks are handed out in a seeded random order; block 0 never."""

    def __init__(self, worker: TorchWorker, *, chunk_tokens: int = 32, seed: int = 0) -> None:
        self._worker = worker
        self._chunk_tokens = chunk_tokens
        self._free_blocks = np.random.default_rng(seed).permutation(np.arange(1, NUM_BLOCKS)).tolist()
        self._free_slots = [5, 2, 7, 0, 3, 6, 1, 4]
        self._running: dict[int, Request] = {}
        self._freed: list[int] = []
        self._new: list[NewSlot] = []
        self._appended: list[tuple[int, int, int]] = []
        self._step = 0

    def run(self, *requests: Request) -> None:
        """Until all are done."""
        for request in requests:
            self.admit(request)
        while self._running:
            self.step()

    def admit(self, request: Request) -> None:
        """Give the request a slot; after `preempt` again, with its outputs so far."""
        request.slot, request.computed = self._free_slots.pop(0), 0
        request.blocks = [self._free_blocks.pop() for _ in range(-(-len(request.tokens) // BLOCK_SIZE))]
        self._running[request.slot] = request
        done = max([p.start + len(p.rank_T) - 1 for p in request.prompt_logprobs], default=0)
        self._new.append(
            NewSlot(
                slot=request.slot,
                request_id=f"r{request.slot}",
                token_ids=_int32(request.tokens),
                num_prompt_tokens=len(request.prompt),
                num_computed_tokens=0,
                block_ids=_int32(request.blocks),
                sampling=request.params,
                seed=request.seed,
                max_tokens=request.num_tokens,
                stop_token_ids=request.stop_token_ids,
                bad_words_token_ids=request.bad_words_token_ids,
                num_prompt_logprobs_done=done,
            )
        )

    def preempt(self, request: Request) -> None:
        """Take slot and blocks away."""
        assert request.slot is not None
        del self._running[request.slot]
        self._freed.append(request.slot)
        self._free_slots.append(request.slot)
        self._free_blocks[:0] = request.blocks
        request.slot, request.blocks = None, []

    def step(self, grammar: dict[int, Int32Array] | None = None) -> StepOutput:
        """One step of all running requests; `grammar`: slot → mask words."""
        plan = self._plan(tuple(grammar or ()))
        self._worker.execute(plan)
        output = self._worker.sample(np.stack(list(grammar.values())) if grammar else None)
        self._take(plan, output)
        return output

    def _plan(self, grammar_slots: tuple[int, ...]) -> StepPlan:
        slots = sorted(self._running, reverse=True)  # some order that is not the batch's
        requests = [self._running[slot] for slot in slots]
        counts = [min(self._chunk_tokens, len(r.tokens) - r.computed) for r in requests]
        self._append_blocks(requests, counts)
        appended, self._appended = self._appended, []
        new, self._new = tuple(self._new), []
        freed, self._freed = _int32(self._freed), []
        columns = [_int32(column) for column in zip(*appended, strict=True)] or [_int32([])] * 3
        plan = StepPlan(
            step=self._step,
            slots_N=_int32(slots),
            num_computed_N=_int32([r.computed for r in requests]),
            num_scheduled_N=_int32(counts),
            samples_N=np.array([r.computed + c == len(r.tokens) for r, c in zip(requests, counts, strict=True)]),
            total_tokens=sum(counts),
            freed_slots=freed,
            new=new,
            appended_slots_A=columns[0],
            appended_index_A=columns[1],
            appended_block_ids_A=columns[2],
            grammar_rows_G=_int32(grammar_slots),
        )
        self._step += 1
        return plan

    def _append_blocks(self, requests: Iterable[Request], counts: Iterable[int]) -> None:
        for request, count in zip(requests, counts, strict=True):
            while len(request.blocks) * BLOCK_SIZE < request.computed + count:
                block = self._free_blocks.pop()
                assert request.slot is not None
                self._appended.append((request.slot, len(request.blocks), block))
                request.blocks.append(block)

    def _take(self, plan: StepPlan, output: StepOutput) -> None:
        for slot, count in zip(plan.slots_N.tolist(), plan.num_scheduled_N.tolist(), strict=True):
            self._running[slot].computed += count
        requests = [self._running[slot] for slot in output.slots_N.tolist()]
        for request, token in zip(requests, output.token_ids_M.tolist(), strict=True):
            request.outputs.append(token)
        if output.logprobs is not None:
            lp = output.logprobs
            for row, ids, values, num in zip(lp.rows_R, lp.token_ids_RK, lp.logprobs_RK, lp.num_R, strict=True):
                requests[row].logprobs.append(dict(zip(ids[:num].tolist(), values[:num].tolist(), strict=True)))
        for stretch in output.prompt_logprobs:
            self._running[stretch.slot].prompt_logprobs.append(stretch)
        for request in requests:
            if request.is_done:
                self.preempt(request)


def _int32(values: Sequence[int]) -> Int32Array:
    return np.array(values, np.int32)
