"""How much work a step takes and in which order."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SchedulerConfig"]


@dataclass(frozen=True, kw_only=True)
class SchedulerConfig:
    """Limits and policy of the scheduler; the platform's `SchedulingConstraints` come on top."""

    max_num_seqs: int = 256
    """Requests that run at once = number of slots."""
    max_num_batched_tokens: int = 2048
    """Most tokens computed in one step."""
    long_prefill_token_threshold: int = 0
    """Most tokens of one prompt per step; 0 = no limit but the budget."""
    enable_chunked_prefill: bool = True
    """False: a prompt is computed in one step or waits (then max_num_batched_tokens >= max_model_len)."""
    policy: str = "fcfs"
    """fcfs | priority."""
    async_scheduling: bool = False
    """True: the next step is planned while the last one runs."""
    scheduler_cls: str | None = None
    """Dotted path of a class that fills `vllm.engine.scheduler.interface.SchedulerInterface`."""
    max_num_queued_reqs: int | None = None
    """Waiting requests past this number are refused; None = no limit."""
    max_num_queued_tokens: int | None = None
    """A request whose prompt would bring those that wait past so many tokens is refused, unless it is alone; None = no limit."""
    stream_interval: int = 1
