"""Owns what the engine's two faces, `LLMEngine` and `AsyncLLM`, say of it alike."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, TypeVar

from vllm.errors import InvalidRequestError
from vllm.plugins import load_general_plugins

if TYPE_CHECKING:
    from vllm.config import ModelConfig, VllmConfig
    from vllm.config.engine_args import EngineArgs
    from vllm.text.tokenizer import Tokenizer

__all__ = ["EngineFace"]

F = TypeVar("F", bound="EngineFace")


class EngineFace(abc.ABC):
    """What was configured, and the tokenizer."""

    config: VllmConfig
    """Complete: the core has sized its cache."""
    tokenizer: Tokenizer | None
    """None with `skip_tokenizer_init`."""

    @abc.abstractmethod
    def __init__(self, config: VllmConfig) -> None:
        """Start the engine; blocks until it can take requests."""

    @classmethod
    def from_engine_args(cls: type[F], engine_args: EngineArgs) -> F:
        """The engine that the options describe. Raises ConfigError and ModelLoadError before anything slow where it can."""
        load_general_plugins()
        return cls(engine_args.create_engine_config())

    @property
    def vllm_config(self) -> VllmConfig:
        """The complete configuration; the same as `config`."""
        return self.config

    @property
    def model_config(self) -> ModelConfig:
        """The configuration's section about the model."""
        return self.config.model_config

    def get_tokenizer(self) -> Tokenizer:
        """The model's tokenizer. Raises InvalidRequestError with `skip_tokenizer_init`."""
        if self.tokenizer is None:
            raise InvalidRequestError(
                "This engine has no tokenizer: it was started with skip_tokenizer_init.",
                parameter="skip_tokenizer_init",
            )
        return self.tokenizer
