"""Owns the processes that render chat templates for a server: a template is a program, which may never end or may fill the memory.

Templates that come with requests have processes of their own, so that the model's chats do not wait for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from vllm import envs
from vllm.errors import BeyondLimitsError, InvalidRequestError, QueueFullError, VllmError
from vllm.executor.helper import GIB, HelperPool
from vllm.logger import init_logger
from vllm.text.chat import PreparedChat

if TYPE_CHECKING:
    from vllm.engine.async_llm import AsyncLLM

__all__ = ["close_template_helpers", "rendered", "start_template_helper"]

logger = init_logger(__name__)

MAX_TEXT_characters = 64 << 20
"""Of a rendered conversation: no body is as long."""
MAX_FOREIGN = 256
"""Conversations with templates of their own that are being rendered or wait for it: each may take its whole time."""
PATIENCE_s = 60.0


@dataclass(slots=True)
class _Renderers:
    """The processes for one kind of templates, and how many conversations they have, or will have when it is their turn."""

    pool: HelperPool
    conversations: int = 0

    @contextmanager
    def conversation(self, most: int | None) -> Iterator[HelperPool]:
        """One more; `most` bounds them. Raises QueueFullError."""
        if most is not None and self.conversations >= most:
            raise QueueFullError(
                f"{most} conversations with chat templates of their own wait to be rendered.", remedy="try again later"
            )
        self.conversations += 1
        try:
            yield self.pool
        finally:
            self.conversations -= 1


async def rendered(chat: PreparedChat, *, is_foreign: bool) -> str:
    """The prompt text. `is_foreign`: the template came with the request.

    Raises:
        InvalidRequestError: also where the template takes more than VLLM_CHAT_TEMPLATE_RENDER_TIMEOUT.
        QueueFullError: too many requests that bring templates wait already.
    """
    try:
        with _renderers(is_foreign).conversation(MAX_FOREIGN if is_foreign else None) as pool:
            return await pool.run(envs.VLLM_CHAT_TEMPLATE_RENDER_TIMEOUT, _render, chat)
    except BeyondLimitsError as error:
        raise InvalidRequestError(
            f"The chat template cannot be rendered with these messages: it {error.what}.", parameter="chat_template"
        ) from error


async def start_template_helper(engine: AsyncLLM) -> None:
    """Start the process that the first conversation would wait for, if there can be one. A failure is told when one needs it."""
    if engine.errored or engine.tokenizer is None:
        return
    if not (engine.model_config.chat_template or engine.tokenizer.chat_template):
        return
    try:
        await _renderers(False).pool.run(PATIENCE_s, _nothing)
    except (VllmError, OSError) as error:
        logger.debug("No process for chat templates was started ahead: %s", error)


def close_template_helpers() -> None:
    """End the processes; the next conversation starts others."""
    for is_foreign in (False, True):
        _renderers(is_foreign).pool.close()
    _renderers.cache_clear()


@cache
def _renderers(is_foreign: bool) -> _Renderers:
    return _Renderers(HelperPool("ForeignTemplates" if is_foreign else "Templates", _prepare, memory_bytes=GIB))


# ---- in a helper's process


def _prepare() -> None:
    from vllm.text import jinja_sandbox  # noqa: F401 - imported before the first conversation


def _nothing() -> None:
    """Work whose process is all that is wanted."""


def _render(chat: PreparedChat) -> str:
    text = chat.render()
    if len(text) > MAX_TEXT_characters:
        raise BeyondLimitsError(f"gives more than {MAX_TEXT_characters:,} characters")
    return text
