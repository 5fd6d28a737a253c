"""Owns which requests are taken into the queue, and their order in it."""

from __future__ import annotations

import itertools

from vllm.config import SchedulerConfig
from vllm.engine.scheduler.state import SchedulerState
from vllm.errors import ConfigError, DuplicateRequestError, InvalidRequestError, QueueFullError, near_names
from vllm.messages import EngineRequest

__all__ = ["AdmissionRules"]

POLICIES = ("fcfs", "priority")


class AdmissionRules:
    """What `add_request` checks. A request that passes can run to its end when it is alone, so the engine never gets stuck."""

    def __init__(self, state: SchedulerState, config: SchedulerConfig) -> None:
        """Raises ConfigError for an unknown policy."""
        if config.policy not in POLICIES:
            raise ConfigError(
                f"scheduling policy {config.policy!r} is unknown.",
                remedy=f"Choose --scheduling-policy {' or '.join(POLICIES)}.",
                candidates=near_names(config.policy, POLICIES),
            )
        self.state = state
        self.by_priority = config.policy == "priority"
        self._max_queued, self._max_queued_tokens = config.max_num_queued_reqs, config.max_num_queued_tokens
        self._arrivals = itertools.count()

    def order(self, request: EngineRequest) -> tuple[float, ...]:
        """The request's place: by priority and arrival time where the policy says so, else (and among equals) first come, first served."""
        arrival = next(self._arrivals)
        return (request.priority, request.arrival_time_s, arrival) if self.by_priority else (arrival,)

    def check(self, request: EngineRequest) -> None:
        """Raise where the request must not be queued."""
        self._check_id(request)
        self._check_length(request)
        self._check_cache(request)
        self._check_batch_context(request)
        self._check_queue(request)

    def _check_queue(self, request: EngineRequest) -> None:
        waiting = self.state.waiting
        start_at_once = 0 if self.state.queue_stands else self.state.slots.num_free
        if self._max_queued is not None and len(waiting) >= self._max_queued + start_at_once:
            raise _queue_full(f"{len(waiting)} requests wait already", "--max-num-queued-reqs", self._max_queued)
        tokens = len(request.prompt_token_ids)
        if (
            self._max_queued_tokens is not None
            and waiting.num_tokens
            and waiting.num_tokens + tokens > self._max_queued_tokens
        ):
            raise _queue_full(
                f"{waiting.num_tokens} prompt tokens wait already, and the request has {tokens}",
                "--max-num-queued-tokens",
                self._max_queued_tokens,
            )

    def _check_id(self, request: EngineRequest) -> None:
        if request.request_id in self.state.slot_of or request.request_id in self.state.waiting:
            raise DuplicateRequestError(
                f"A request with the id {request.request_id!r} is alive already.",
                parameter="request_id",
                remedy="Give each request an id of its own, or wait until the first one has ended.",
            )

    def _check_length(self, request: EngineRequest) -> None:
        prompt, longest = len(request.prompt_token_ids), self.state.limits.max_model_len
        if not prompt:
            raise InvalidRequestError(
                "The prompt holds no token.", parameter="prompt", remedy="Give at least one token."
            )
        if request.max_tokens < 1 or prompt + request.max_tokens > longest:
            raise InvalidRequestError(
                f"{prompt} prompt tokens and max_tokens={request.max_tokens} do not fit the context of {longest} tokens.",
                parameter="prompt" if prompt >= longest else "max_tokens",
                remedy="Shorten the prompt, lower max_tokens, or raise --max-model-len where the model permits it.",
            )

    def _check_cache(self, request: EngineRequest) -> None:
        kv = self.state.kv
        # The last token's keys are never needed.
        wanted = len(request.prompt_token_ids) + request.max_tokens - 1
        if kv.blocks_for(wanted) > kv.pool.num_usable:
            raise InvalidRequestError(
                f"{len(request.prompt_token_ids)} prompt tokens and max_tokens={request.max_tokens} need {wanted} places in "
                f"the KV cache, which has {kv.pool.num_usable * kv.block_size} "
                f"({kv.pool.num_usable} blocks of {kv.block_size}): the request could never run, even alone.",
                parameter="max_tokens",
                cause="the KV cache is smaller than one full context",
                remedy="Shorten the prompt or max_tokens; or give the cache more memory with --gpu-memory-utilization, "
                "--kv-cache-memory-bytes or --num-gpu-blocks-override; or lower --max-model-len.",
            )

    def _check_batch_context(self, request: EngineRequest) -> None:
        limits = self.state.limits
        total = len(request.prompt_token_ids) + request.max_tokens
        if not limits.admits_context(1, total):
            raise InvalidRequestError(
                f"A context of {total} tokens is more than this platform's budget of "
                f"{limits.constraints.max_batch_context_tokens} tokens for rows × context, even for one row.",
                parameter="max_tokens",
                remedy="Shorten the prompt or max_tokens.",
            )


def _queue_full(what: str, option: str, limit: int) -> QueueFullError:
    return QueueFullError(
        f"{what}; {option} permits {limit}.",
        cause="requests come faster than they are served",
        remedy=f"Try again later, or raise {option}.",
    )
