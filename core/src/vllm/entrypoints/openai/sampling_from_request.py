"""Owns the way from a request's fields to `SamplingParams`: what was given, then the model's own defaults, then vLLM's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vllm.errors import InvalidRequestError, near_names
from vllm.logger import init_logger
from vllm.sampling_params import RequestOutputKind, SamplingParams, StructuredOutputsParams

if TYPE_CHECKING:
    from vllm.config import ModelConfig
    from vllm.entrypoints.openai.protocol.common import GenerationRequest, ResponseFormat

__all__ = ["request_params", "structured_outputs_of"]

logger = init_logger(__name__)

_TAKEN_AS_THEY_ARE = (
    *("n", "seed", "presence_penalty", "frequency_penalty", "stop", "stop_token_ids", "ignore_eos", "min_tokens"),
    *("logit_bias", "allowed_token_ids", "bad_words", "prompt_logprobs", "logprob_token_ids", "skip_special_tokens"),
    *("spaces_between_special_tokens", "include_stop_str_in_output", "repetition_detection"),
    "skip_reading_prefix_cache",
)
_WITH_MODEL_DEFAULTS = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")
_OLD_FORMS = ("json", "regex", "choice", "grammar")
"""With `guided_` before it: fields of older releases, without effect."""
_CONSTRAINTS = frozenset(StructuredOutputsParams.__dataclass_fields__)


def request_params(
    request: GenerationRequest,
    model: ModelConfig,
    *,
    max_tokens: int | None,
    logprobs: int | None,
    is_free: bool = False,
) -> SamplingParams:
    """The parameters of one request; `is_free`: whatever it says about the output's form is not meant, something else decides.

    Raises InvalidRequestError.
    """
    _check_together(request)
    _tell_of_old_forms(request)
    defaults = model.generation_config
    given = {name: getattr(request, name) for name in _TAKEN_AS_THEY_ARE}
    if request.use_beam_search:
        given["n"] = None  # the number of beams
    for name in _WITH_MODEL_DEFAULTS:
        value = getattr(request, name)
        given[name] = defaults.get(name) if value is None else value
    return SamplingParams.from_optional(
        **given,
        max_tokens=_max_tokens(max_tokens, model),
        logprobs=logprobs,
        structured_outputs=None if is_free else structured_outputs_of(request),
        extra_args=request.vllm_xargs,
        output_kind=RequestOutputKind.DELTA if request.stream else RequestOutputKind.FINAL_ONLY,
    )


def _max_tokens(wanted: int | None, model: ModelConfig) -> int | None:
    """The engine cuts it to the context; more than a whole context is a mistake that the user should hear of."""
    if wanted is not None and wanted > model.max_model_len:
        raise InvalidRequestError(
            f"`max_tokens` is {wanted}, but this model's maximum context length is {model.max_model_len} tokens, "
            "prompt and output together.",
            parameter="max_tokens",
        )
    limit = model.generation_config.get("max_new_tokens")
    return min((value for value in (wanted, limit) if value is not None), default=None)


def _check_together(request: GenerationRequest) -> None:
    """Refuse fields that contradict each other, and what this server does not do."""
    if request.stream_options is not None and not request.stream:
        raise _wrong("stream_options", "needs `stream` to be true")
    if request.use_beam_search and request.stream:
        raise _wrong("use_beam_search", "cannot be had with `stream`")
    if request.stream and request.prompt_logprobs is not None:
        raise _wrong("prompt_logprobs", "cannot be had with `stream`")


def _tell_of_old_forms(request: GenerationRequest) -> None:
    """vLLM ignores them too; but whoever still writes them takes free text for text of that form."""
    for kind in _OLD_FORMS:
        if getattr(request, f"guided_{kind}") is not None:
            logger.warning_once(
                'Requests hold `guided_%s`, which has no effect: write `structured_outputs: {"%s": ...}` instead.',
                kind,
                kind,
            )


def _wrong(name: str, rule: str) -> InvalidRequestError:
    return InvalidRequestError(f"`{name}` {rule}.", parameter=name)


# ---- the form of the output


def structured_outputs_of(request: GenerationRequest) -> StructuredOutputsParams | None:
    """The one constraint that `structured_outputs` and `response_format` name. Raises InvalidRequestError for none or several."""
    given = dict(request.structured_outputs) if request.structured_outputs is not None else None
    if given is not None:
        _check_keys(given)
    form = _constraint_of(request.response_format)
    if form is not None:
        given = {**(given or {}), **form}
    if given is None:
        return None
    return StructuredOutputsParams(**given)


def _check_keys(given: Mapping[str, Any]) -> None:
    unknown = [key for key in given if key not in _CONSTRAINTS]
    if unknown:
        raise InvalidRequestError(
            f"`structured_outputs` has no key {unknown[0]!r}; it may have {', '.join(sorted(_CONSTRAINTS))}.",
            parameter="structured_outputs",
            candidates=near_names(unknown[0], _CONSTRAINTS),
        )


def _constraint_of(form: ResponseFormat | None) -> dict[str, Any] | None:
    if form is None or form.type == "text":
        return None
    if form.type == "json_object":
        return {"json_object": True}
    if form.type == "structural_tag":
        tag = form.model_dump(include={"structures", "triggers", "format"}, exclude_none=True)
        if not tag:
            raise _wrong("response_format", "is a structural_tag, so it needs `structures` and `triggers`, or `format`")
        return {"structural_tag": tag}
    schema = form.json_schema.json_schema if form.json_schema is not None else None
    if schema is None:
        raise _wrong("response_format", "is json_schema, so it needs the schema as `json_schema.schema`")
    return {"json": schema}
