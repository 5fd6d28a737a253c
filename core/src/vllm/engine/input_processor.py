"""Owns the way from a user's prompt and parameters to checked `EngineRequest`s: everything that can be refused is refused here."""

from __future__ import annotations

import hashlib
import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vllm.errors import InvalidRequestError
from vllm.inputs import check_token_ids, parse_prompt
from vllm.messages import Delivery, EngineRequest
from vllm.platforms.capabilities import Feature
from vllm.platforms.selection import load_platform
from vllm.sampling.grammar_limits import check_constraint_size
from vllm.sampling.load_processors import load_logits_processors, validate_processor_params
from vllm.sampling_params import RequestOutputKind, SamplingParams

if TYPE_CHECKING:
    from vllm.config import VllmConfig
    from vllm.inputs import ParsedPrompt
    from vllm.sampling.structured_output import GrammarFactory
    from vllm.text.tokenizer import Tokenizer

__all__ = ["InputProcessor", "ProcessedRequest"]

_SEED_BITS = 63


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessedRequest:
    """A user's request, checked and expanded: one child per wanted output (`n`)."""

    request_id: str
    prompt_text: str | None
    prompt_token_ids: list[int]
    params: SamplingParams
    """A copy: what the user changes later does not reach a running request."""
    arrival_time_s: float
    """time.monotonic()."""
    children: tuple[EngineRequest, ...]


class InputProcessor:
    """One per engine. Several threads may use it: its seeds and numbers come one at a time, and nothing else of it changes."""

    def __init__(self, config: VllmConfig, tokenizer: Tokenizer | None, grammar_factory: GrammarFactory | None) -> None:
        """Without a `grammar_factory` grammars are checked by somebody else."""
        self._config = config.model_config
        self._platform = load_platform(config.platform)
        self._tokenizer = tokenizer
        self._grammars = grammar_factory
        self._processors = load_logits_processors(config.model_config.logits_processors)
        self._seeds = np.random.default_rng(config.model_config.seed)
        self._serials = itertools.count()

    def process(self, request_id: str, prompt: Any, params: SamplingParams, *, priority: int = 0) -> ProcessedRequest:
        """Check and expand one request.

        Raises:
            InvalidRequestError: prompt or parameters are unusable; names the parameter, its value and the limit.
        """
        arrival_time_s = time.monotonic()
        self._check_length(prompt)
        params = self._checked_params(params)
        parsed = parse_prompt(prompt)
        token_ids = self._token_ids(parsed)
        max_tokens = self._max_tokens(len(token_ids), params)
        return ProcessedRequest(
            request_id=request_id,
            prompt_text=parsed.text,
            prompt_token_ids=token_ids,
            params=params,
            arrival_time_s=arrival_time_s,
            children=self._children(request_id, token_ids, params, max_tokens, parsed, arrival_time_s, priority),
        )

    # -- prompt ---------------------------------------------------------------------------------------------------------------

    def _check_length(self, prompt: Any) -> None:
        """Refuse ids that are too many before anybody looks at each of them."""
        ids = prompt.get("prompt_token_ids") if isinstance(prompt, Mapping) else prompt
        if isinstance(ids, Sequence) and not isinstance(ids, (str, bytes)) and len(ids) > self._config.max_model_len:
            raise self._too_long(len(ids))

    def _token_ids(self, parsed: ParsedPrompt) -> list[int]:
        if parsed.token_ids is not None:
            check_token_ids(parsed.token_ids, self._config.vocab_size)
            return parsed.token_ids
        if self._tokenizer is None:
            raise InvalidRequestError(
                "The prompt is text, but the engine runs with skip_tokenizer_init.",
                parameter="prompt",
                remedy="give prompt_token_ids, or start the engine with a tokenizer",
            )
        assert parsed.text is not None
        token_ids = self._tokenizer.encode(parsed.text)
        check_token_ids(token_ids, self._config.vocab_size)
        return token_ids

    def _max_tokens(self, prompt_tokens: int, params: SamplingParams) -> int:
        """What may be generated: the user's max_tokens, cut to the context."""
        room = self._config.max_model_len - prompt_tokens
        if room == 0:
            raise InvalidRequestError(
                f"`max_tokens` must be at least 1, got 0: the prompt's {prompt_tokens} tokens fill this model's context.",
                parameter="max_tokens",
                remedy="shorten the prompt, or raise --max-model-len if the model allows it",
            )
        if room < 0:
            raise self._too_long(prompt_tokens)
        return room if params.max_tokens is None else min(room, params.max_tokens)

    def _too_long(self, prompt_tokens: int) -> InvalidRequestError:
        return InvalidRequestError(
            f"This model's maximum context length is {self._config.max_model_len} tokens. However, your prompt "
            f"contains {prompt_tokens} tokens, which is more.",
            parameter="input_tokens",
            remedy="shorten the prompt, or raise --max-model-len if the model allows it",
        )

    # -- parameters -----------------------------------------------------------------------------------------------------------

    def _checked_params(self, params: SamplingParams) -> SamplingParams:
        if not isinstance(params, SamplingParams):
            raise InvalidRequestError(
                f"params must be a SamplingParams, got {type(params).__name__}.", parameter="params"
            )
        params = params.clone()
        params.verify()
        if params.structured_outputs is not None:
            self._require_grammars()
            check_constraint_size(params.structured_outputs)
        params.check_against_model(
            vocab_size=self._config.vocab_size,
            max_model_len=self._config.max_model_len,
            max_logprobs=self._config.max_logprobs,
            has_tokenizer=self._tokenizer is not None,
        )
        validate_processor_params(self._processors, params)
        if params.structured_outputs is not None and self._grammars is not None:
            self._grammars.new_state(params.structured_outputs)  # compiled once and kept: the core finds it ready
        return params

    def _require_grammars(self) -> None:
        """Refuse what the platform says it cannot do; before it is asked for, nothing is lost."""
        capability = self._platform.capability(Feature.STRUCTURED_OUTPUT)
        if not capability.is_usable:
            raise InvalidRequestError(
                f"`structured_outputs` is given, but the platform {self._platform.name} says of structured output: {capability}.",
                parameter="structured_outputs",
                remedy="leave it out, or choose another platform",
            )

    def _bad_words(self, params: SamplingParams) -> tuple[tuple[int, ...], ...]:
        """Token sequences of the bad words, at the start of a text and after a space, since tokenizers tell them apart."""
        if not params.bad_words or self._tokenizer is None:
            return ()
        texts = [prefix + word.lstrip() for word in params.bad_words for prefix in ("", " ")]
        sequences = [tuple(self._tokenizer.encode(text, add_special_tokens=False)) for text in texts]
        return tuple(dict.fromkeys(sequence for sequence in sequences if sequence))

    def _silent_eos(self) -> tuple[int, ...]:
        """The one end token that leaves `stop_reason` None; a model's further ones are told by their id, as vLLM's users know it."""
        eos = self._config.eos_token_ids
        own = None if self._tokenizer is None else self._tokenizer.eos_token_id
        return (own,) if own is not None and own in eos else eos[:1]

    def _stop_token_ids(self, params: SamplingParams) -> tuple[int, ...]:
        eos = () if params.ignore_eos else self._config.eos_token_ids
        return tuple(dict.fromkeys([*eos, *(params.stop_token_ids or ())]))

    # -- children -------------------------------------------------------------------------------------------------------------

    def _children(
        self,
        request_id: str,
        token_ids: list[int],
        params: SamplingParams,
        max_tokens: int,
        parsed: ParsedPrompt,
        arrival_time_s: float,
        priority: int,
    ) -> tuple[EngineRequest, ...]:
        prompt = np.asarray(token_ids, np.int32)
        bad_words, stop_ids = self._bad_words(params), self._stop_token_ids(params)
        seed = params.seed if params.seed is not None else int(self._seeds.integers(1 << _SEED_BITS))
        serial = next(self._serials)
        return tuple(
            EngineRequest(
                request_id=_engine_id(request_id, serial, index),
                prompt_token_ids=prompt,
                sampling=params,
                seed=_child_seed(seed, index),
                max_tokens=max_tokens,
                stop_token_ids=stop_ids,
                eos_token_ids=() if params.ignore_eos else self._silent_eos(),
                bad_words_token_ids=bad_words,
                arrival_time_s=arrival_time_s,
                priority=priority,
                cache_salt=parsed.cache_salt,
                delivery=_delivery(params),
            )
            for index in range(params.n)
        )


def _engine_id(request_id: str, serial: int, index: int) -> str:
    """The engine's id of one output. Never given twice: users reuse their ids while the end of the last use is still to be told."""
    return f"{request_id}#{serial}.{index}"


def _child_seed(seed: int, index: int) -> int:
    """Output 0 draws as a request with n=1 would; the others draw independently.

    A hash, no sum: positions are added to seeds too (`sampling.rng`), and one output would draw as another does some tokens later.
    """
    if not index:
        return seed % (1 << _SEED_BITS)
    digest = hashlib.blake2b(f"{seed}/{index}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> (64 - _SEED_BITS)


def _delivery(params: SamplingParams) -> Delivery:
    """Tokens are needed at every step for streaming and to look for stop strings; else once, at the end."""
    if params.output_kind is RequestOutputKind.FINAL_ONLY and not params.stop:
        return Delivery.AT_FINISH
    return Delivery.EVERY_STEP
