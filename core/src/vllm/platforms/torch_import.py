"""Owns what must be true before a process imports torch for the first time."""

from __future__ import annotations

import os

__all__ = ["prepare_torch_import"]


def prepare_torch_import() -> None:
    """Keep torch from loading vendor backends by itself, in this process and its children. Cheap; call it any time before torch.

    Vendor wheels register `torch.backends` entry points, and `import torch` fails where such a wheel lacks its libraries.
    The chosen platform loads its own backend instead (`Platform.load_backend`). A value that the user exported is kept.
    """
    os.environ.setdefault("TORCH_DEVICE_BACKEND_AUTOLOAD", "0")
