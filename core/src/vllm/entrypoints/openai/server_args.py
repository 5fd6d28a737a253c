"""Owns what users may say about the server itself: address, access, limits, templates. The engine's options are EngineArgs."""

from __future__ import annotations

from dataclasses import dataclass

from vllm.config.option_kinds import text, whole
from vllm.config.options import option, read_options

__all__ = ["ServerArgs"]

_ADDRESS = "Address"


@dataclass(kw_only=True)
class ServerArgs:
    """The options of `vllm serve` beside the engine's."""

    host: str | None = option(
        None, text(placeholder="HOST"), "Address to listen on.", group=_ADDRESS, common=True, default_words="every one"
    )
    port: int = option(
        8000, whole(at_least=0, at_most=65535), "Port to listen on; 0 takes a free one.", group=_ADDRESS, common=True
    )
    root_path: str | None = option(
        None, text(placeholder="PATH"), "Path under which a proxy shows the server.", group=_ADDRESS
    )

    def __post_init__(self) -> None:
        read_options(self)
