"""Owns the fields that every generating request has: sampling, streaming, form of the output. Unknown fields are ignored, as in vLLM."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler

__all__ = ["GenerationRequest", "Request", "ResponseFormat", "StreamOptions"]

Whole = Annotated[int, Field(ge=-(2**63), lt=2**63)]
"""What fits into a message to the engine."""
Scalar = bool | Whole | float | str


def _give_up_early(schema: Any) -> None:
    """In every list and dict of this schema."""
    if isinstance(schema, dict):
        if schema.get("type") in ("list", "dict"):
            schema["fail_fast"] = True
        for part in schema.values():
            _give_up_early(part)
    elif isinstance(schema, (list, tuple)):
        for part in schema:
            _give_up_early(part)


class Request(BaseModel):
    """A request's body, or a part of one."""

    model_config = ConfigDict(extra="ignore", protected_namespaces=())

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> Any:
        """A list or dict is given up at its first mistake: a report of two million takes minutes, and no other request its turn."""
        schema = handler(source)
        _give_up_early(schema)
        return schema


class StreamOptions(Request):
    """What a stream tells besides its text."""

    include_usage: bool | None = False
    """A last chunk with the usage of the whole request, and without choices."""
    continuous_usage_stats: bool | None = False
    """The usage so far, in every chunk."""


class JsonSchemaFormat(Request):
    """OpenAI's `json_schema` object; `strict` needs no switch, the schema always holds."""

    name: str | None = None
    description: str | None = None
    json_schema: dict[str, Any] | bool | None = Field(default=None, alias="schema")
    strict: bool | None = None


class ResponseFormat(Request):
    """OpenAI's way to say which form the output must have."""

    type: Literal["text", "json_object", "json_schema", "structural_tag"]
    json_schema: JsonSchemaFormat | None = None
    structures: list[dict[str, Any]] | None = None
    """Of a structural_tag, with its triggers."""
    triggers: list[str] | None = None
    format: dict[str, Any] | None = None
    """Of a structural_tag in its newer spelling."""


class GenerationRequest(Request):
    """What completions and chat completions have in common. None means "not given": the model's own default, then vLLM's."""

    model: str | None = None
    n: int | None = None
    seed: Whole | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: Whole | None = None
    min_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repetition_penalty: float | None = None
    stop: str | list[str] | None = None
    stop_token_ids: list[int] | None = None
    ignore_eos: bool | None = None
    max_tokens: int | None = None
    min_tokens: int | None = None
    logit_bias: dict[str, float] | None = None
    allowed_token_ids: list[int] | None = None
    bad_words: list[str] | None = None
    prompt_logprobs: int | None = None
    logprob_token_ids: list[int] | None = None
    skip_special_tokens: bool | None = None
    spaces_between_special_tokens: bool | None = None
    include_stop_str_in_output: bool | None = None
    repetition_detection: dict[str, Whole] | None = None
    skip_reading_prefix_cache: bool | None = None

    structured_outputs: dict[str, Any] | None = None
    response_format: ResponseFormat | None = None
    guided_json: Any = None
    """Like its kin below: what older releases of vLLM called the form. It has no effect; the log says so."""
    guided_regex: Any = None
    guided_choice: Any = None
    guided_grammar: Any = None
    use_beam_search: bool | None = False
    """Then `n` is the number of beams."""
    length_penalty: float | None = None

    stream: bool | None = False
    stream_options: StreamOptions | None = None
    return_token_ids: bool | None = None
    return_tokens_as_token_ids: bool | None = None

    add_special_tokens: bool | None = None
    truncate_prompt_tokens: int | None = None
    cache_salt: str | None = None
    priority: Whole = 0
    request_id: str | None = None
    vllm_xargs: dict[str, Scalar | list[Scalar]] | None = None
    user: str | None = None
