"""Owns the names of the entry-point groups that vLLM reads."""

from __future__ import annotations

__all__ = ["ENDPOINT", "GENERAL", "GROUPS", "LOGITS_PROCESSORS", "OPT_IN_GROUPS", "PLATFORM", "STAT_LOGGERS"]

PLATFORM = "vllm.platform_plugins"
"""A function that returns the dotted path of a `Platform` class, or raises `Unavailable`."""
GENERAL = "vllm.general_plugins"
"""A function without arguments, called once in every process before anything else: registers models, ops, and so on."""
LOGITS_PROCESSORS = "vllm.logits_processors"
"""A logits-processor class."""
STAT_LOGGERS = "vllm.stat_logger_plugins"
"""A stat-logger class; loaded where the engine is driven from."""
ENDPOINT = "vllm.endpoint_plugins"
"""Adds routes to the server; loaded only where `VLLM_PLUGINS` names it."""

GROUPS = (PLATFORM, GENERAL, LOGITS_PROCESSORS, STAT_LOGGERS, ENDPOINT)
OPT_IN_GROUPS = frozenset({ENDPOINT})
