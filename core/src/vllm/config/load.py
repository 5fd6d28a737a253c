"""Where weights come from."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LoadConfig"]


@dataclass(frozen=True, kw_only=True)
class LoadConfig:
    """How the loader opens the checkpoint."""

    load_format: str = "auto"
    """auto | safetensors | dummy (random weights, no file is read but the config)."""
    use_tqdm_on_load: bool = True
    download_dir: str | None = None
