"""Owns what a user may ask of one request's sampling: `SamplingParams` and the small records it holds. No torch, no numpy.

The objects are plain and mutable, because users change fields between calls; whoever accepts one calls `verify()` again.
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Any

from vllm import sampling_checks as check
from vllm.absent_arguments import SAMPLING, grants_absent
from vllm.errors import InvalidRequestError
from vllm.sampling_rules import (
    GREEDY_BELOW_TEMPERATURE,
    MAX_TEMPERATURE,
    check_logprobs_limit,
    verify_fields,
)

__all__ = [
    "BeamSearchParams",
    "RepetitionDetectionParams",
    "RequestOutputKind",
    "SamplingParams",
    "SamplingType",
    "StructuredOutputsParams",
]


class RequestOutputKind(Enum):
    """What a `RequestOutput` carries while its request runs."""

    CUMULATIVE = 0
    """Everything generated so far, in every output."""
    DELTA = 1
    """Only what is new since the last output."""
    FINAL_ONLY = 2
    """One output, when the request has ended."""


class SamplingType(IntEnum):
    """How the next token is drawn."""

    GREEDY = 0
    RANDOM = 1
    RANDOM_SEED = 2


@dataclass(kw_only=True, slots=True)
class StructuredOutputsParams:
    """The form that the output must have: exactly one of json, regex, choice, grammar, json_object, structural_tag.

    `json` takes a schema as text, as a dict, or as a pydantic model class (kept as its schema). `structural_tag` takes free text whose
    tags hold JSON, as a dict or its JSON text: `{"structures": [{"begin", "schema", "end"}], "triggers": […]}`.
    """

    json: Any = None
    regex: str | None = None
    choice: list[str] | None = None
    grammar: str | None = None
    json_object: bool | None = None
    disable_any_whitespace: bool = False
    disable_additional_properties: bool = False
    whitespace_pattern: str | None = None
    structural_tag: str | dict[str, Any] | None = None

    def __post_init__(self) -> None:
        self.verify()

    @property
    def kind(self) -> str:
        """Name of the one constraint that is set."""
        return self._given()[0]

    def verify(self) -> None:
        """Normalise and check; raises InvalidRequestError. The grammar itself is checked when it is compiled."""
        given = self._given()
        if len(given) != 1:
            check.reject(
                "structured_outputs",
                given,
                "must set exactly one of json, regex, choice, grammar, json_object, structural_tag",
            )
        self._verify_value()

    def _given(self) -> list[str]:
        names = ("json", "regex", "choice", "grammar", "structural_tag")
        given = [name for name in names if getattr(self, name) is not None]
        return given + (["json_object"] if self.json_object else [])

    def _verify_value(self) -> None:
        if self.json is not None:
            self.json = _json_schema(self.json)
        if self.choice is not None:
            self.choice = check.string_list("structured_outputs.choice", self.choice)
            if not self.choice:
                check.reject("structured_outputs.choice", self.choice, "must hold at least one string")
        if isinstance(self.structural_tag, dict):
            self.structural_tag = _json_text("structured_outputs.structural_tag", self.structural_tag)
        for name in ("regex", "grammar", "whitespace_pattern", "structural_tag"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, str) and value):
                check.reject(f"structured_outputs.{name}", value, "must be a non-empty string")


def _json_text(name: str, value: dict[str, Any]) -> str:
    try:
        return json.dumps(value)
    except (TypeError, ValueError, RecursionError) as error:
        check.reject(name, value, f"must be JSON, and of reasonable depth ({error})")


def _json_schema(value: Any) -> Any:
    """A pydantic model class becomes its schema; text, dicts and JSON's true and false stay as they are."""
    to_schema = getattr(value, "model_json_schema", None)
    if callable(to_schema):
        return to_schema()
    if not isinstance(value, (str, dict, bool)):
        check.reject("structured_outputs.json", value, "must be a JSON schema (text, dict) or a pydantic model class")
    return value


@dataclass(kw_only=True, slots=True)
class RepetitionDetectionParams:
    """End a request whose output ends in the same pattern of tokens, `min_count` times in a row."""

    max_pattern_size: int
    """Longest pattern looked for, in tokens."""
    min_pattern_size: int = 1
    min_count: int = 2

    def __post_init__(self) -> None:
        self.verify()

    def verify(self) -> None:
        """Check the ranges; raises InvalidRequestError."""
        name = "repetition_detection"
        self.min_pattern_size = check.integer(f"{name}.min_pattern_size", self.min_pattern_size, low=1)
        self.max_pattern_size = check.integer(
            f"{name}.max_pattern_size", self.max_pattern_size, low=self.min_pattern_size
        )
        self.min_count = check.integer(f"{name}.min_count", self.min_count, low=2)


@grants_absent(SAMPLING)
@dataclass(kw_only=True, slots=True)
class SamplingParams:
    """Parameters of one request, with vLLM's names and defaults.

    Raises InvalidRequestError where a value is outside its limits. What depends on the model is checked by `check_against_model`.
    """

    n: int = 1
    """Outputs to generate for the prompt."""
    presence_penalty: float = 0.0
    """In [-2, 2]; subtracted from the logit of each token that is in the output already."""
    frequency_penalty: float = 0.0
    """In [-2, 2]; subtracted once per occurrence in the output."""
    repetition_penalty: float = 1.0
    """In [1e-6, 1e6]; logits of tokens in the prompt or the output are divided (or, if negative, multiplied) by it."""
    temperature: float = 1.0
    """In [0, 2]; below 1e-5 the most likely token is taken."""
    top_p: float = 1.0
    """In (0, 1]."""
    top_k: int = 0
    """0 (or -1, stored as 0) considers all tokens."""
    min_p: float = 0.0
    """In [0, 1], relative to the most likely token's probability."""
    seed: int | None = None
    """Fixes this request's draws, alone or in a batch; -1 is stored as None."""
    stop: str | list[str] | None = None
    """Texts that end the output; stored as a list."""
    stop_token_ids: list[int] | None = None
    """Ids that end the output; stored as a list."""
    ignore_eos: bool = False
    max_tokens: int | None = 16
    """None generates up to the end of the model's context."""
    min_tokens: int = 0
    """Before this many tokens no EOS, stop token or stop string ends the output."""
    logprobs: int | None = None
    """Most likely tokens reported per output token; -1 for the whole vocabulary."""
    prompt_logprobs: int | None = None
    flat_logprobs: bool = False
    """Report log-probabilities as `FlatLogprobs` instead of a list of dicts."""
    logprob_token_ids: list[int] | None = None
    """Report the log-probabilities of exactly these tokens, at every output position."""
    detokenize: bool = True
    skip_special_tokens: bool = True
    spaces_between_special_tokens: bool = True
    include_stop_str_in_output: bool = False
    output_kind: RequestOutputKind = RequestOutputKind.CUMULATIVE
    stream_interval: int | None = None
    """Tokens between two streamed outputs; None takes the engine's."""
    structured_outputs: StructuredOutputsParams | None = None
    logit_bias: dict[int, float] | None = None
    allowed_token_ids: list[int] | None = None
    bad_words: list[str] | None = None
    """Texts that must not be generated; stored as a list."""
    skip_reading_prefix_cache: bool | None = None
    """Always skipped where prompt log-probabilities are wanted, which a cached prompt does not yield."""
    repetition_detection: RepetitionDetectionParams | None = None
    extra_args: dict[str, Any] | None = None
    """For custom logits processors and plugins; the engine does not read it."""

    def __post_init__(self) -> None:
        self.verify()

    @classmethod
    def from_optional(cls, **values: Any) -> SamplingParams:
        """Build from values that may be None for "not given". A given `max_tokens=None` still means "up to the context"."""
        given = {name: value for name, value in values.items() if value is not None or name == "max_tokens"}
        if given.get("logit_bias") is not None:
            bias = check.logit_bias_map("logit_bias", given["logit_bias"])
            given["logit_bias"] = {token: min(100.0, max(-100.0, b)) for token, b in bias.items()}
        return cls(**given)

    def verify(self) -> None:
        """Normalise and check every field; raises InvalidRequestError. Call it again after changing fields."""
        verify_fields(self)
        self._verify_records()

    def check_against_model(
        self, *, vocab_size: int, max_model_len: int, max_logprobs: int, has_tokenizer: bool = True
    ) -> None:
        """Check what depends on the model; raises InvalidRequestError.

        `max_logprobs` -1 permits the whole vocabulary; `has_tokenizer` False refuses what needs text.
        """
        for name, token_ids in self._token_id_fields():
            check.out_of_vocabulary(name, token_ids, vocab_size)
        for name in ("logprobs", "prompt_logprobs"):
            check_logprobs_limit(name, getattr(self, name), vocab_size, max_logprobs)
        check_logprobs_limit("logprob_token_ids", len(self.logprob_token_ids or ()), vocab_size, max_logprobs)
        if self.min_tokens >= max_model_len:
            check.reject("min_tokens", self.min_tokens, f"must be below the model's context of {max_model_len} tokens")
        if not has_tokenizer:
            self._check_needs_no_tokenizer()

    def clone(self) -> SamplingParams:
        """A copy whose containers may be changed without changing the original's."""
        twin = copy.copy(self)
        for name in _CONTAINERS:
            if (value := getattr(self, name)) is not None:
                setattr(twin, name, copy.deepcopy(value))
        return twin

    @property
    def is_greedy(self) -> bool:
        """The most likely token is taken; top_p, top_k, min_p and seed have no effect then."""
        return self.temperature < GREEDY_BELOW_TEMPERATURE

    @property
    def sampling_type(self) -> SamplingType:
        if self.is_greedy:
            return SamplingType.GREEDY
        return SamplingType.RANDOM if self.seed is None else SamplingType.RANDOM_SEED

    @property
    def has_penalties(self) -> bool:
        return bool(self.presence_penalty or self.frequency_penalty or self.repetition_penalty != 1.0)

    @property
    def reads_prefix_cache(self) -> bool:
        """Whether cached prompt blocks may be used for this request."""
        return self.prompt_logprobs is None and not self.skip_reading_prefix_cache

    def _verify_records(self) -> None:
        """The fields that hold other objects; each of those checks itself."""
        for name, kind in _RECORDS.items():
            value = getattr(self, name)
            if value is None:
                continue
            if isinstance(value, dict) and kind is not dict:
                value = _record(name, kind, value)
                setattr(self, name, value)
            if not isinstance(value, kind):
                check.reject(name, value, f"must be a {kind.__name__}")
            if isinstance(value, (StructuredOutputsParams, RepetitionDetectionParams)):
                value.verify()

    def _token_id_fields(self) -> list[tuple[str, list[int]]]:
        return [
            ("logit_bias", list(self.logit_bias or ())),
            ("allowed_token_ids", self.allowed_token_ids or []),
            ("stop_token_ids", self.stop_token_ids or []),
            ("logprob_token_ids", self.logprob_token_ids or []),
        ]

    def _check_needs_no_tokenizer(self) -> None:
        for name in ("stop", "bad_words", "structured_outputs"):
            if getattr(self, name):
                raise InvalidRequestError(
                    f"`{name}` needs the tokenizer, but the engine runs with `skip_tokenizer_init=True`. "
                    f"Start it with a tokenizer, or leave `{name}` out.",
                    parameter=name,
                )


def _record(name: str, kind: type[Any], values: dict[str, Any]) -> Any:
    """The object of a field that was given as a dict."""
    try:
        return kind(**values)
    except TypeError:
        known = ", ".join(getattr(kind, "__dataclass_fields__", ()))
        check.reject(name, values, f"must be a {kind.__name__}, or a dict with its fields ({known})")


_RECORDS: dict[str, type[Any]] = {
    "output_kind": RequestOutputKind,
    "structured_outputs": StructuredOutputsParams,
    "repetition_detection": RepetitionDetectionParams,
    "extra_args": dict,
}
"""Fields that hold objects, with the class that each must have."""

_CONTAINERS = (
    *("stop", "stop_token_ids", "bad_words", "logprob_token_ids", "logit_bias", "allowed_token_ids"),
    *("structured_outputs", "repetition_detection", "extra_args"),
)
"""Fields whose values a user may change in place."""


@dataclass(kw_only=True, slots=True)
class BeamSearchParams:
    """Parameters of `LLM.beam_search`."""

    beam_width: int
    max_tokens: int
    ignore_eos: bool = False
    temperature: float = 0.0
    length_penalty: float = 1.0
    """Scores are divided by length ** length_penalty."""
    include_stop_str_in_output: bool = False
    structured_outputs: StructuredOutputsParams | None = None
    skip_special_tokens: bool = True

    def __post_init__(self) -> None:
        self.verify()

    def verify(self) -> None:
        """Normalise and check every field; raises InvalidRequestError."""
        self.beam_width = check.integer("beam_width", self.beam_width, low=1)
        self.max_tokens = check.integer("max_tokens", self.max_tokens, low=1)
        self.temperature = check.number("temperature", self.temperature, low=0.0, high=MAX_TEMPERATURE)
        self.length_penalty = check.number("length_penalty", self.length_penalty)
