"""Owns the device-neutral model runner: model, KV cache, persistent batch and sampler of one rank, and the way of a step through them.

What differs between devices comes from the platform: attention backend, ops, scheduling constraints, captured forward.

Legend: T tokens, N rows that need logits, M sampling rows, Q prompt tokens that are scored, H hidden size, V vocabulary, G grammar rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from vllm.attention.selection import select_attention_backend
from vllm.messages import StepOutput
from vllm.model_executor.context import ModelContext
from vllm.model_executor.custom_op import OpSet
from vllm.sampling.load_processors import load_logits_processors
from vllm.sampling.rows import SamplingSlots
from vllm.sampling.step import GrammarMask, SamplingStep
from vllm.worker import kv_cache_memory
from vllm.worker.decode_capture import DecodeCapture, capture_sizes
from vllm.worker.memory_errors import memory_errors_explained
from vllm.worker.model_runner_base import ModelRunnerBase
from vllm.worker.persistent_batch import PersistentBatch
from vllm.worker.prompt_scores import PromptScorer
from vllm.worker.step_inputs import InputBuilder, StepInputs, StepRows, order_rows
from vllm.worker.step_shapes import StepShape, dummy_rows, step_shapes

if TYPE_CHECKING:
    from vllm.config import VllmConfig
    from vllm.distributed.device_communicators.base_communicator import CommunicatorBase
    from vllm.messages import Int32Array, PromptLogprobs, StepPlan
    from vllm.platforms import Platform
    from vllm.sampling.logits_processors_interface import LogitsProcessor
    from vllm.worker.kv_cache_spec import KVCacheConfig, KVCacheGroup
    from vllm.worker.prompt_scores import PromptStretch

__all__ = ["TorchModelRunner"]


class TorchModelRunner(ModelRunnerBase[StepInputs]):
    """One rank's model. Life: load_model → kv_cache_groups → profile_run → initialize_kv_cache → warm_up → steps."""

    def __init__(self, config: VllmConfig, platform: Platform, device: torch.device, tp: CommunicatorBase) -> None:
        """Keep the arguments; `tp` is the tensor-parallel group (one rank: a group of one)."""
        self.config = config
        self.platform = platform
        self.device = device
        self.tp = tp
        self.constraints = platform.scheduling_constraints(config)
        self.backend = select_attention_backend(config, platform)(device)
        self.kv_caches: list[tuple[torch.Tensor, ...]] = []
        self._captured_sizes = capture_sizes(config, platform)
        self._capture: DecodeCapture | None = None

    # -- set-up -----------------------------------------------------------------------------------------------------------------

    def load_model(self) -> None:
        """Model and sampler, with the platform's ops."""
        from vllm.model_executor.loader import build_model

        ops = OpSet(self.platform.op_overrides())
        context = ModelContext(
            config=self.config,
            ops=ops,
            tp=self.tp,
            attention=self.backend,
            dtype=getattr(torch, self.config.model_config.dtype),
            device=self.device,
        )
        self.model = build_model(context)
        self.sampler = ops.create("sampler", self.config.model_config.logprobs_mode)

    def kv_cache_groups(self) -> tuple[KVCacheGroup, ...]:
        """One group of all attention layers."""
        return kv_cache_memory.kv_cache_groups(self.config, self.model.attention_layers, self.backend)

    @torch.inference_mode()
    def profile_run(self) -> None:
        """The largest step: every token of the budget, logits for every slot."""
        scheduler = self.config.scheduler_config
        num_tokens = self.constraints.bucket_tokens(scheduler.max_num_batched_tokens)
        token_T = torch.zeros(num_tokens, dtype=torch.int64, device=self.device)
        no_caches: list[tuple[torch.Tensor, ...]] = [() for _ in self.model.attention_layers]
        with memory_errors_explained(self.platform, f"the profiling step of {num_tokens} tokens"):
            hidden_TH = self.model(token_T, token_T, no_caches, self.backend.profile_metadata(num_tokens))
            logits_NV = self.model.compute_logits(hidden_TH[: scheduler.max_num_seqs])
            logits_NV.to(torch.float32).argmax(-1)

    @torch.inference_mode()
    def initialize_kv_cache(self, kv_cache_config: KVCacheConfig) -> None:
        """Cache, block tables, and the state by slot."""
        model, num_slots = self.config.model_config, self.config.scheduler_config.max_num_seqs
        self._kv_cache_config = kv_cache_config
        self.restore_kv_cache()
        self.batch = PersistentBatch(num_slots, model.max_model_len, kv_cache_config.block_size)
        pins = self.platform.is_pin_memory_available()
        self.builder = InputBuilder(self.batch, self.constraints, self.device, self._captured_sizes, pins_memory=pins)
        self._forget_requests()

    @torch.inference_mode()
    def warm_up(self) -> None:
        """Capture the decode steps, where the platform can."""
        if self._captured_sizes:
            self._capture = DecodeCapture(self.platform, self.model, self.device)
            longest = self.config.model_config.max_model_len
            self._capture.capture_all(self._captured_sizes, longest, self.builder, self.backend, self.kv_caches)

    def free_kv_cache(self) -> None:
        """The recordings hold the cache's tensors."""
        self._capture = None
        self.kv_caches = []

    @torch.inference_mode()
    def restore_kv_cache(self) -> None:
        """Zeroed tensors of every layer."""
        config = self._kv_cache_config
        with memory_errors_explained(self.platform, f"the KV cache of {config.num_blocks} blocks"):
            self.kv_caches = kv_cache_memory.allocate_kv_caches(config, self.backend, self.device)

    # -- a step -----------------------------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def prepare_inputs(self, plan: StepPlan) -> StepInputs:
        """Deltas into the state by slot; then everything by indexing with the rows' slots."""
        with memory_errors_explained(self.platform, f"preparing step {plan.step} of {plan.total_tokens} tokens"):
            self._apply(plan)
            return self._inputs(order_rows(plan), plan.step, plan.grammar_rows_G)

    def _inputs(self, rows: StepRows, step: int, grammar_slots_G: Int32Array) -> StepInputs:
        builder = self.builder
        rows = builder.lay_out(rows)
        slots_T, position_T = builder.tokens(rows)
        num_padded = builder.padded_tokens(rows)
        stretches = self.prompt_scorer.stretches(rows)
        batch = builder.attention_batch(rows, slots_T, position_T, num_padded)
        return StepInputs(
            step=step,
            shape=StepShape(len(batch.seq_lens_N), num_padded, batch.block_table_NB.shape[1] * batch.block_size),
            num_tokens=len(slots_T),
            slots_N=rows.slots_N,
            input_ids_T=builder.input_ids(rows, slots_T, position_T, num_padded),
            positions_T=builder.positions(rows, position_T, num_padded),
            metadata=self.backend.build_metadata(batch),
            captured_rows=builder.captured_rows(rows, num_padded) if self._capture else None,
            logits_index=self._logits_index(rows, num_padded, stretches),
            slots_M=rows.slots_N[rows.samples_N],
            position_M=(rows.first_position_N + rows.count_N)[rows.samples_N],
            prompt_stretches=stretches,
            grammar_slots_G=grammar_slots_G,
        )

    @torch.inference_mode()
    def forward(self, inputs: StepInputs) -> torch.Tensor:
        """The model over the step's tokens; only rows that need logits come out."""
        with memory_errors_explained(self.platform, f"step {inputs.step} of {inputs.num_tokens} tokens"):
            return self.run_model(inputs)[inputs.logits_index]

    @torch.inference_mode()
    def sample(self, hidden_NH: torch.Tensor, inputs: StepInputs, grammar_mask_GW: Int32Array | None) -> StepOutput:
        """Tokens by slot; they stay on the device for the next step and join the known tokens on the host."""
        num_sampling = len(inputs.slots_M)
        with memory_errors_explained(self.platform, f"sampling {num_sampling} rows of step {inputs.step}"):
            prompt_logprobs = self._prompt_logprobs(hidden_NH[num_sampling:], inputs)
            if not num_sampling:
                return _no_tokens(inputs.step, prompt_logprobs)
            logits_MV = self.compute_logits(hidden_NH[:num_sampling])
            step = self._sampling_step(inputs, grammar_mask_GW)
            output = self.sampler(logits_MV, self.sampling.rows(inputs.slots_M), step)
            self.builder.keep_last_tokens(inputs.slots_M, output.tokens_N)
            token_M = output.tokens_N.to("cpu", torch.int32).numpy()  # waits: errors of queued work come out here
        self.batch.record(inputs.slots_M, inputs.position_M, token_M)
        return StepOutput(
            step=inputs.step,
            slots_N=inputs.slots_M,
            counts_N=np.ones(num_sampling, np.int32),
            token_ids_M=token_M,
            logprobs=output.logprobs,
            prompt_logprobs=prompt_logprobs,
        )

    # -- what a device that compiles may do its own way ---------------------------------------------------------------------------

    def run_model(self, inputs: StepInputs) -> torch.Tensor:
        """hidden_TH of a step, padding included. Called in inference mode."""
        arguments = inputs.input_ids_T, inputs.positions_T, self.kv_caches, inputs.metadata
        if self._capture is not None and inputs.captured_rows is not None:
            return self._capture.replay(inputs.captured_rows, *arguments)
        hidden_TH: torch.Tensor = self.model(*arguments)
        return hidden_TH

    def compute_logits(self, hidden_MH: torch.Tensor) -> torch.Tensor:
        """logits_MV of the sampling rows. Called in inference mode."""
        logits_MV: torch.Tensor = self.model.compute_logits(hidden_MH)
        return logits_MV

    def step_shapes(self) -> tuple[StepShape, ...]:
        """All shapes that this engine's steps can have; empty where the platform's buckets do not fix them."""
        return step_shapes(
            self.constraints,
            max_num_seqs=self.config.scheduler_config.max_num_seqs,
            max_model_len=self.config.model_config.max_model_len,
            block_size=self.batch.block_size,
        )

    def dummy_inputs(self, shape: StepShape) -> StepInputs:
        """A step of that shape that touches nobody's blocks; for `warm_up`, before the first request."""
        max_model_len = self.config.model_config.max_model_len
        rows = dummy_rows(shape, max_model_len=max_model_len, block_size=self.batch.block_size)
        inputs = self._inputs(rows, 0, np.empty(0, np.int32))
        assert inputs.shape == shape, f"a dummy step for {shape} has the shape {inputs.shape}"
        return inputs

    # -- inner ------------------------------------------------------------------------------------------------------------------

    def _custom_processors(self) -> list[LogitsProcessor]:
        classes = load_logits_processors(self.config.model_config.logits_processors)
        pin = self.platform.is_pin_memory_available()
        return [processor(self.config, self.device, pin) for processor in classes]

    def _forget_requests(self) -> None:
        """What is kept of them besides the batch, as at the start; custom processors too, which may have failed half-way."""
        model, num_slots = self.config.model_config, self.config.scheduler_config.max_num_seqs
        self.sampling = SamplingSlots(
            num_slots, model.vocab_size, self.device, self._custom_processors(), self.batch.outputs_of
        )
        self.prompt_scorer = PromptScorer(self.batch, model.vocab_size, model.logprobs_mode)

    def _apply(self, plan: StepPlan) -> None:
        if plan.starts_anew:
            self._forget_requests()
        for slot in plan.freed_slots.tolist():
            self.sampling.remove(slot)
        for new in plan.new:
            self.sampling.add(new)
        self.batch.apply(plan)
        self.prompt_scorer.apply(plan)
        self._clear(_fresh_blocks(plan, self.batch.block_size))

    def _clear(self, block_ids_A: Int32Array) -> None:
        if len(block_ids_A):
            index_A = self.builder.to_device(block_ids_A.astype(np.int64))
            for kv_cache in self.kv_caches:
                self.backend.clear_blocks(kv_cache, index_A)

    def _logits_index(
        self, rows: StepRows, num_padded: int, stretches: tuple[PromptStretch, ...]
    ) -> torch.Tensor | slice:
        """Sampling rows' last tokens, then the scored prompt tokens; everything without a copy where that is all tokens."""
        if rows.is_decode_only and not stretches and rows.samples_N.all():
            return slice(0, len(rows.slots_N))
        last_N = rows.query_start_N1[1:][rows.samples_N] - 1
        scored = [np.arange(stretch.first_token, stretch.first_token + stretch.count) for stretch in stretches]
        return self.builder.to_device(np.concatenate([last_N, *scored]).astype(np.int64))

    def _prompt_logprobs(self, hidden_QH: torch.Tensor, inputs: StepInputs) -> tuple[PromptLogprobs, ...]:
        if not inputs.prompt_stretches:
            return ()
        return self.prompt_scorer.report(hidden_QH, inputs.prompt_stretches, self.model.compute_logits)

    def _sampling_step(self, inputs: StepInputs, grammar_mask_GW: Int32Array | None) -> SamplingStep:
        grammar = None
        if grammar_mask_GW is not None and len(inputs.grammar_slots_G):
            row_of_slot = {slot: row for row, slot in enumerate(inputs.slots_M.tolist())}
            row_G = np.array([row_of_slot[slot] for slot in inputs.grammar_slots_G.tolist()], np.int64)
            grammar = GrammarMask(row_G=row_G, bits_GW=grammar_mask_GW)
        return SamplingStep(
            slots_N=inputs.slots_M,
            position_N=inputs.position_M,
            token_ids_SL=self.batch.token_ids_SL,
            num_prompt_S=self.batch.num_prompt_S,
            grammar=grammar,
        )


def _fresh_blocks(plan: StepPlan, block_size: int) -> Int32Array:
    """Blocks that requests got with this plan and that hold nothing of theirs yet: all but the prefix-cache hits."""
    arrived = [new.block_ids[new.num_computed_tokens // block_size :] for new in plan.new]
    return np.concatenate([plan.appended_block_ids_A, *arrived]) if arrived else plan.appended_block_ids_A


def _no_tokens(step: int, prompt_logprobs: tuple[PromptLogprobs, ...]) -> StepOutput:
    """A step of unfinished prompts yields no token."""
    none = np.empty(0, np.int32)
    return StepOutput(step=step, slots_N=none, counts_N=none, token_ids_M=none, prompt_logprobs=prompt_logprobs)
