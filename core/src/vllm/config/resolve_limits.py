"""Owns how the sizes of steps, blocks and contexts are settled between the user, the engine's defaults and the platform.

One rule throughout: what the user gave is kept or refused with both names; what the user left open is fitted and logged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vllm.errors import ConfigError
from vllm.logger import init_logger

if TYPE_CHECKING:
    from vllm.config.engine_args import EngineArgs
    from vllm.config.vllm import VllmConfig
    from vllm.platforms.constraints import SchedulingConstraints

__all__ = ["fit_limits"]

logger = init_logger(__name__)

_DEFAULT_SEQS = 256
_DEFAULT_BATCHED_TOKENS = 2048


def fit_limits(args: EngineArgs, config: VllmConfig, constraints: SchedulingConstraints) -> VllmConfig:
    """`config` with block size, context, concurrent requests and tokens per step that fit each other and the platform.

    Raises:
        ConfigError: the user's own values do not; names the flags.
    """
    max_model_len = _max_model_len(args, config.model_config.max_model_len, constraints)
    max_num_seqs = _max_num_seqs(args, constraints)
    chunked = config.scheduler_config.enable_chunked_prefill
    at_least_tokens = _least_batched_tokens(max_num_seqs, max_model_len, constraints, chunked=chunked)
    scheduler = {
        "max_num_seqs": max_num_seqs,
        "max_num_batched_tokens": _max_num_batched_tokens(args, at_least_tokens, constraints),
    }
    return config.with_changes(
        model_config={"max_model_len": max_model_len},
        cache_config={"block_size": _block_size(args, constraints)},
        scheduler_config=scheduler,
    )


def _block_size(args: EngineArgs, constraints: SchedulingConstraints) -> int:
    if args.block_size is None:
        return constraints.default_block_size
    if args.block_size % constraints.block_size_multiple:
        raise ConfigError(
            f"block_size (--block-size) is {args.block_size}, but this platform needs a multiple of "
            f"{constraints.block_size_multiple} tokens.",
            remedy=f"leave --block-size out (then it is {constraints.default_block_size}), or give such a multiple",
        )
    return args.block_size


def _max_model_len(args: EngineArgs, model_tokens: int, constraints: SchedulingConstraints) -> int:
    limit_tokens = constraints.max_model_len
    if limit_tokens is None or model_tokens <= limit_tokens:
        return model_tokens
    if isinstance(args.max_model_len, int):
        raise ConfigError(
            f"max_model_len (--max-model-len) is {model_tokens}, but this platform holds at most {limit_tokens} tokens per sequence.",
            remedy=f"give --max-model-len {limit_tokens} or less, or leave it out",
        )
    logger.info(
        "max_model_len is lowered from %d to %d: the platform holds no longer context.", model_tokens, limit_tokens
    )
    return limit_tokens


def _max_num_seqs(args: EngineArgs, constraints: SchedulingConstraints) -> int:
    given = args.max_num_seqs
    if given is None:
        return _fitting_num_seqs(args, constraints)
    if constraints.decode_batch_buckets and given > constraints.decode_batch_buckets[-1]:
        most = constraints.decode_batch_buckets[-1]
        raise ConfigError(
            f"max_num_seqs (--max-num-seqs) is {given}, but this platform runs at most {most} requests at once.",
            remedy=f"give --max-num-seqs {most} or less, or leave it out",
        )
    return given


def _fitting_num_seqs(args: EngineArgs, constraints: SchedulingConstraints) -> int:
    """The default, or what a smaller batch or step allows: each running request computes at least one token per step."""
    limits = {
        "the default": _DEFAULT_SEQS,
        "max_num_batched_tokens (--max-num-batched-tokens)": args.max_num_batched_tokens,
        "the platform's largest decode batch": (constraints.decode_batch_buckets or (None,))[-1],
        "the platform's largest step": (constraints.token_buckets or (None,))[-1],
    }
    reason, seqs = min(((why, limit) for why, limit in limits.items() if limit is not None), key=lambda item: item[1])
    if seqs < _DEFAULT_SEQS:
        logger.info("max_num_seqs is %d instead of %d: %s.", seqs, _DEFAULT_SEQS, reason)
    return seqs


def _least_batched_tokens(
    max_num_seqs: int, max_model_len: int, constraints: SchedulingConstraints, *, chunked: bool
) -> dict[str, int]:
    """What max_num_batched_tokens must reach: reason -> tokens."""
    whole_prompt = {} if chunked else {"max_model_len (--max-model-len), as prompts are not chunked": max_model_len}
    chunk_tokens = constraints.prefill_chunk_tokens
    chunk = {} if chunk_tokens is None else {"the platform's prefill chunk": chunk_tokens}
    return {"max_num_seqs (--max-num-seqs)": max_num_seqs, **whole_prompt, **chunk}


def _max_num_batched_tokens(
    args: EngineArgs, at_least_tokens: dict[str, int], constraints: SchedulingConstraints
) -> int:
    reason, least = max(at_least_tokens.items(), key=lambda item: item[1])
    given = args.max_num_batched_tokens
    wanted = max(least, _DEFAULT_BATCHED_TOKENS) if given is None else given
    most = constraints.token_buckets[-1] if constraints.token_buckets else wanted
    if wanted < least:
        raise _too_few_tokens(wanted, reason, least)
    if wanted > most and (given is not None or least > most):
        raise _too_many_tokens(wanted, most, None if given is not None else reason)
    if least > _DEFAULT_BATCHED_TOKENS and given is None:
        logger.info(
            "max_num_batched_tokens is %d instead of %d: %s is %d.", wanted, _DEFAULT_BATCHED_TOKENS, reason, least
        )
    return min(wanted, most)


def _too_few_tokens(given: int, reason: str, least: int) -> ConfigError:
    return ConfigError(
        f"max_num_batched_tokens (--max-num-batched-tokens) is {given}, but {reason} is {least}: a step must be able to hold that.",
        remedy=f"raise --max-num-batched-tokens to {least} or more"
        + (" or lower the other" if "--" in reason else "")
        + (", or switch --enable-chunked-prefill on" if "chunked" in reason else ""),
    )


def _too_many_tokens(wanted: int, most: int, reason: str | None) -> ConfigError:
    because = "" if reason is None else f" (at least {reason})"
    return ConfigError(
        f"max_num_batched_tokens (--max-num-batched-tokens) would be {wanted}{because}, but this platform computes at most {most} "
        "tokens in one step.",
        remedy=f"give --max-num-batched-tokens {most} or less"
        if reason is None
        else "lower --max-num-seqs or --max-model-len",
    )
