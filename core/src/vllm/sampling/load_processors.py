"""Owns how custom logits processors are found: classes and dotted paths the user gave, then the entry points of installed plugins."""

from __future__ import annotations

from collections.abc import Sequence

from vllm.errors import InvalidRequestError, PluginError, VllmError
from vllm.plugins.dotted import load_dotted
from vllm.plugins.groups import LOGITS_PROCESSORS
from vllm.plugins.loading import load_plugins
from vllm.sampling.logits_processors_interface import LogitsProcessor
from vllm.sampling_params import SamplingParams

__all__ = ["LogitsProcessorError", "load_logits_processors", "validate_processor_params"]


class LogitsProcessorError(PluginError):
    """A custom logits processor cannot be loaded."""


def load_logits_processors(given: Sequence[type[LogitsProcessor] | str] = ()) -> tuple[type[LogitsProcessor], ...]:
    """The classes to run, in order: those of installed plugins by name, then `given`; each once.

    Raises LogitsProcessorError (a RuntimeError) naming the processor, with the original error as its cause.
    """
    found = [_checked(item, name) for name, item in sorted(_installed().items())]
    found += [_checked(_resolve(item), str(item)) for item in given]
    return tuple(dict.fromkeys(found))


def validate_processor_params(processors: Sequence[type[LogitsProcessor]], params: SamplingParams) -> None:
    """Let each processor check a request's parameters; its ValueError refuses the request, as an InvalidRequestError."""
    for processor in processors:
        try:
            processor.validate_params(params)
        except InvalidRequestError:
            raise
        except ValueError as error:
            raise InvalidRequestError(
                f"The logits processor {processor.__name__} refuses the request: {error}", parameter="extra_args"
            ) from error


def _installed() -> dict[str, object]:
    try:
        return load_plugins(LOGITS_PROCESSORS)
    except VllmError as error:
        raise LogitsProcessorError(f"An installed logits processor cannot be loaded: {error}") from error


def _resolve(item: type[LogitsProcessor] | str) -> object:
    if not isinstance(item, str):
        return item
    try:
        return load_dotted(item)
    except Exception as error:  # the processor's module may raise anything while it is imported
        raise LogitsProcessorError(
            f"The logits processor {item!r} cannot be loaded: {type(error).__name__}: {error}",
            remedy='name it as "package.module:Class", and install the package in this environment',
        ) from error


def _checked(item: object, name: str) -> type[LogitsProcessor]:
    if isinstance(item, type) and issubclass(item, LogitsProcessor):
        return item
    raise LogitsProcessorError(
        f"The logits processor {name!r} is {item!r}, not a class derived from LogitsProcessor.",
        remedy="derive it from vllm.sampling.logits_processors_interface.LogitsProcessor and give the class itself",
    )
