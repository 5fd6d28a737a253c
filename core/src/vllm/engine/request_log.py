"""Owns what `--enable-log-requests` writes: each request with its prompt and parameters, cut to a length."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vllm.logger import init_logger

if TYPE_CHECKING:
    from vllm.engine.input_processor import ProcessedRequest

__all__ = ["RequestLog"]

logger = init_logger(__name__)


class RequestLog:
    """Given to an AsyncLLM, it is told every request that is accepted."""

    def __init__(self, max_length: int | None) -> None:
        """Prompts are cut to so many characters and tokens; None = they are not."""
        self._max_length = max_length

    def received(self, request: ProcessedRequest) -> None:
        """Write it down."""
        text = None if request.prompt_text is None else request.prompt_text[: self._max_length]
        logger.info(
            "Received request %s: prompt: %r, params: %s, prompt_token_ids: %s.",
            request.request_id,
            text,
            request.params,
            request.prompt_token_ids[: self._max_length],
        )
