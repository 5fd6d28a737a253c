"""Owns the choice where an engine core runs. Imports little: a server starts its core first and everything else meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vllm import envs

if TYPE_CHECKING:
    from vllm.config import VllmConfig
    from vllm.engine.core_client.interface import CoreClient

__all__ = ["start_core"]


def start_core(config: VllmConfig) -> CoreClient:
    """An engine core that is starting, where `VLLM_ENABLE_V1_MULTIPROCESSING` wants it."""
    if envs.VLLM_ENABLE_V1_MULTIPROCESSING:
        from vllm.engine.core_client.in_process import ProcessClient

        return ProcessClient(config)
    from vllm.engine.core import EngineCore
    from vllm.engine.core_client.in_thread import ThreadClient
    from vllm.engine.model_text import late_grammar_factory

    return ThreadClient(lambda: EngineCore(config, late_grammar_factory(config)))
