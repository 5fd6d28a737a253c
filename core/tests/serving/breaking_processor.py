"""A plugin with a bug: a logits processor that raises for the rows whose request says when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vllm.testing.row_values import RowValues


class Breaks(RowValues[tuple[int, Sequence[int]]]):
    """`vllm_xargs={"breaks_after_tokens": N}`."""

    def apply(self, logits: Any) -> Any:
        for most_tokens, outputs in self._value_of_row.values():
            if len(outputs) >= most_tokens:
                raise RuntimeError("secret words from /some/where.py")
        return logits

    def _value(self, params: Any, outputs: Sequence[int]) -> tuple[int, Sequence[int]] | None:
        most_tokens = (params.extra_args or {}).get("breaks_after_tokens")
        return None if most_tokens is None else (most_tokens, outputs)
