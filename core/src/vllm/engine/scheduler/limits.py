"""Owns the numbers that bound a step: the configuration and the platform's constraints, combined once."""

from __future__ import annotations

from vllm.config import VllmConfig
from vllm.errors import ConfigError
from vllm.platforms.constraints import SchedulingConstraints

__all__ = ["StepLimits"]


STEPS_BEFORE_GROWTH = 256
"""Good steps after which a limit that was cut for want of memory is doubled."""


class StepLimits:
    """What a step may hold. Raises ConfigError where configuration and constraints permit no step at all."""

    def __init__(self, config: VllmConfig, constraints: SchedulingConstraints, block_size: int) -> None:
        scheduler = config.scheduler_config
        self.constraints = constraints
        self.block_size = block_size
        self.max_seqs = min((scheduler.max_num_seqs, *constraints.decode_batch_buckets[-1:]))
        model_len = config.model_config.max_model_len
        self.max_model_len = min((model_len, constraints.max_model_len or model_len, *constraints.context_buckets[-1:]))
        self.max_tokens = scheduler.max_num_batched_tokens
        """Of any step."""
        self.max_tokens_with_prefill = min((self.max_tokens, *constraints.token_buckets[-1:]))
        self._full_tokens, self._full_tokens_with_prefill = self.max_tokens, self.max_tokens_with_prefill
        self._steps_to_growth = 0
        chunks = scheduler.enable_chunked_prefill
        self.fixed_chunk = constraints.prefill_chunk_tokens
        self.longest_chunk = (chunks and scheduler.long_prefill_token_threshold) or self.max_model_len
        self.cuts_anywhere = chunks and self.fixed_chunk is None
        self.groups_decodes = constraints.decode_step_cost_tokens is not None
        """Decode rows take turns; the rows × context budget is each step's."""
        self.max_prefills = constraints.max_concurrent_prefills or self.max_seqs
        self._check()

    def chunk_tokens(self, remaining: int, room: int) -> int:
        """Tokens of a prompt to compute now, of `remaining`, where `room` are left in the step; 0 = it must wait for another."""
        wanted = min(remaining, self.fixed_chunk or self.longest_chunk)
        if self.cuts_anywhere:
            return min(wanted, room)
        return wanted if wanted <= room else 0

    def shrink(self, failed_tokens: int, *, has_prefill: bool) -> bool:
        """Halve the step that failed for want of memory; False if no smaller step can make progress.

        A step of decodes alone says nothing about prompts: only the number of rows is cut, since a whole prompt must still fit.
        """
        smaller = failed_tokens // 2
        whole_piece = self.fixed_chunk or (1 if self.cuts_anywhere else self.max_model_len)
        if smaller < (whole_piece if has_prefill else 1):
            return False
        self.max_tokens = min(self.max_tokens, smaller)
        if has_prefill or self.cuts_anywhere:
            self.max_tokens_with_prefill = min(self.max_tokens_with_prefill, smaller)
        self._steps_to_growth = STEPS_BEFORE_GROWTH
        return True

    def note_step(self) -> None:
        """A step went well: memory may be back, so after a while limits that were cut are doubled again."""
        if not self._steps_to_growth:
            return
        self._steps_to_growth -= 1
        if not self._steps_to_growth:
            self.max_tokens = min(2 * self.max_tokens, self._full_tokens)
            self.max_tokens_with_prefill = min(2 * self.max_tokens_with_prefill, self._full_tokens_with_prefill)
            is_full = self.max_tokens_with_prefill == self._full_tokens_with_prefill
            self._steps_to_growth = 0 if is_full and self.max_tokens == self._full_tokens else STEPS_BEFORE_GROWTH

    def admits_context(self, rows: int, longest_tokens: int) -> bool:
        """Whether so many requests, the longest growing to so many tokens, stay within the device's rows × context budget."""
        return self.constraints.admits_batch_context(rows, longest_tokens, self.block_size)

    def _check(self) -> None:
        multiple = self.constraints.block_size_multiple
        if self.block_size % multiple:
            raise ConfigError(
                f"block_size={self.block_size} is not a multiple of {multiple}, which this platform needs.",
                remedy=f"Leave --block-size out, or give a multiple of {multiple}.",
            )
        longest = self.fixed_chunk or (None if self.cuts_anywhere else self.max_model_len)
        if longest is not None and longest > self.max_tokens_with_prefill:
            raise ConfigError(
                f"A step holds at most {self.max_tokens_with_prefill} tokens, but a prompt may have to be computed "
                f"in pieces of {longest}: such a prompt could never run.",
                cause="--max-num-batched-tokens is below the platform's chunk"
                if self.fixed_chunk
                else "chunked prefill is off, so a whole prompt goes into one step",
                remedy=f"Give --max-num-batched-tokens {longest} or more"
                + ("." if self.fixed_chunk else ", leave chunked prefill on, or lower --max-model-len."),
            )
