"""What a quantised checkpoint says of itself in its config. No torch: the checks of configurations are tested without it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

W8A8 = {
    "quant_method": "compressed-tensors",
    "format": "int-quantized",
    "quantization_status": "compressed",
    "kv_cache_scheme": None,
    "global_compression_ratio": 1.5,
    "ignore": ["lm_head"],
    "config_groups": {
        "group_0": {
            "targets": ["Linear"],
            "weights": {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "channel", "dynamic": False,
                        "group_size": None, "observer": "minmax", "observer_kwargs": {}},
            "input_activations": {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "token", "dynamic": True},
            "output_activations": None,
        }
    },
}  # fmt: skip
"""As the usual quantisers write it."""


def with_changes(changes: Mapping[str, Any], base: Mapping[str, Any] = W8A8) -> dict[str, Any]:
    """`changes` over the settings, mapping by mapping."""
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        merged[key] = with_changes(value, old) if isinstance(value, Mapping) and isinstance(old, Mapping) else value
    return merged
