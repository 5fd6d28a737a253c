"""Owns the body of `POST /v1/completions`."""

from __future__ import annotations

from typing import Any

from vllm.entrypoints.openai.protocol.common import GenerationRequest

__all__ = ["DEFAULT_MAX_TOKENS", "CompletionRequest"]

DEFAULT_MAX_TOKENS = 16
"""As OpenAI has it; chats go on to the end of the context."""


class CompletionRequest(GenerationRequest):
    """One or several prompts, each continued `n` times."""

    prompt: str | list[int] | list[str] | list[list[int]] | None = None
    prompt_embeds: Any = None
    echo: bool | None = False
    logprobs: int | None = None
    suffix: str | None = None
