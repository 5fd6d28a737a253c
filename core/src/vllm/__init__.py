"""LLM inference and serving with vLLM's user interface; the hardware is a plugin.

Importing this package does nothing: no torch, no logging set-up, no registration. The names below are loaded at first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vllm.config.engine_args import AsyncEngineArgs, EngineArgs
    from vllm.engine.async_llm import AsyncLLMEngine
    from vllm.engine.llm_engine import LLMEngine
    from vllm.entrypoints.llm import LLM
    from vllm.inputs import TextPrompt, TokensPrompt
    from vllm.model_executor.models.registry import ModelRegistry
    from vllm.outputs import CompletionOutput, RequestOutput
    from vllm.sampling_params import SamplingParams

    __version__: str

__all__ = [
    "LLM",
    "AsyncEngineArgs",
    "AsyncLLMEngine",
    "CompletionOutput",
    "EngineArgs",
    "LLMEngine",
    "ModelRegistry",
    "RequestOutput",
    "SamplingParams",
    "TextPrompt",
    "TokensPrompt",
    "__version__",
]

_HOME = {
    "LLM": "vllm.entrypoints.llm",
    "AsyncEngineArgs": "vllm.config.engine_args",
    "AsyncLLMEngine": "vllm.engine.async_llm",
    "CompletionOutput": "vllm.outputs",
    "EngineArgs": "vllm.config.engine_args",
    "LLMEngine": "vllm.engine.llm_engine",
    "ModelRegistry": "vllm.model_executor.models.registry",
    "RequestOutput": "vllm.outputs",
    "SamplingParams": "vllm.sampling_params",
    "TextPrompt": "vllm.inputs",
    "TokensPrompt": "vllm.inputs",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME and name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = _version() if name == "__version__" else _loaded(name)
    globals()[name] = value  # the next access does not come here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _loaded(name: str) -> Any:
    from importlib import import_module

    from vllm.platforms.torch_import import prepare_torch_import

    prepare_torch_import()  # some of these modules import torch
    return getattr(import_module(_HOME[name]), name)


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("vllm-core")
    except PackageNotFoundError:  # run from a folder that was never installed
        return "0+unknown"
