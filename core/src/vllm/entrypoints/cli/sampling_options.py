"""Owns the sampling flags of `vllm generate`. Limits are `SamplingParams`' own; unlike there, the default is greedy."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from vllm.config.option_kinds import NUMBER, SWITCH, mapping, repeated, several, text, whole
from vllm.config.options import option, read_options
from vllm.entrypoints.cli.errors import UsageError
from vllm.errors import near_names

if TYPE_CHECKING:
    from vllm.sampling_params import RequestOutputKind, SamplingParams, StructuredOutputsParams

__all__ = ["SamplingOptions"]

_GROUP = "Sampling"


@dataclass(kw_only=True)
class SamplingOptions:
    """How tokens are chosen. None = what `SamplingParams` says."""

    max_tokens: int = option(16, whole(at_least=1, human=True), "Most tokens to generate.", group=_GROUP, common=True)
    temperature: float = option(
        0.0,
        NUMBER,
        "0 takes the most likely token each time, so that runs repeat; more varies.",
        group=_GROUP,
        common=True,
    )
    top_p: float | None = option(
        None, NUMBER, "Keep the most likely tokens that sum to this.", group=_GROUP, default_words="1"
    )
    top_k: int | None = option(
        None, whole(at_least=-1), "Keep this many likely tokens.", group=_GROUP, default_words="all"
    )
    min_p: float | None = option(
        None,
        NUMBER,
        "Drop tokens below this share of the most likely one's probability.",
        group=_GROUP,
        default_words="0",
    )
    n: int = option(1, whole(at_least=1), "Outputs per prompt.", group=_GROUP)
    stop: tuple[str, ...] | None = option(
        None, repeated(text()), "Text that ends the output; may be given several times.", group=_GROUP, common=True
    )
    stop_token_ids: tuple[int, ...] | None = option(
        None, several(whole(at_least=0), "token ids"), "Token ids that end the output.", group=_GROUP
    )
    ignore_eos: bool = option(False, SWITCH, "Go on past the model's end-of-text token.", group=_GROUP)
    min_tokens: int = option(0, whole(at_least=0), "Fewest tokens before anything ends the output.", group=_GROUP)
    presence_penalty: float = option(0.0, NUMBER, "Penalty for tokens that are in the output.", group=_GROUP)
    frequency_penalty: float = option(0.0, NUMBER, "Penalty per occurrence in the output.", group=_GROUP)
    repetition_penalty: float = option(1.0, NUMBER, "Factor against tokens of prompt and output.", group=_GROUP)
    bad_words: tuple[str, ...] | None = option(
        None, repeated(text()), "Text that must not be generated; may be given several times.", group=_GROUP
    )
    logprobs: int | None = option(
        None, whole(at_least=-1), "Log-probabilities per token, in --json output.", group=_GROUP
    )
    skip_special_tokens: bool = option(True, SWITCH, "Leave special tokens out of the text.", group=_GROUP)
    structured_outputs: dict[str, Any] | None = option(
        None,
        mapping(),
        "Form of the output, e.g. --structured-outputs.regex '[0-9]+', .json, .choice or .grammar.",
        group=_GROUP,
    )

    def __post_init__(self) -> None:
        read_options(self)

    def to_params(self, output_kind: RequestOutputKind) -> SamplingParams:
        """The request's parameters. Raises InvalidRequestError past their limits."""
        from vllm.sampling_params import SamplingParams

        values: dict[str, Any] = {
            name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()
        }
        values |= {"structured_outputs": _structure(self.structured_outputs), "output_kind": output_kind}
        return SamplingParams(**{name: value for name, value in values.items() if value is not None})


def _structure(given: dict[str, Any] | None) -> StructuredOutputsParams | None:
    from vllm.sampling_params import StructuredOutputsParams

    names = [each.name for each in fields(StructuredOutputsParams)]
    for key in given or {}:
        if key not in names:
            raise UsageError(
                f"--structured-outputs has no {key}; it has {', '.join(names)}.", candidates=near_names(key, names)
            )
    return None if given is None else StructuredOutputsParams(**given)
