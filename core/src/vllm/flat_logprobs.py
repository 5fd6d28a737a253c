"""Owns `FlatLogprobs`: log-probabilities of many positions in a few flat arrays, read as a list of dicts. No numpy."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import overload

__all__ = ["FlatLogprobs", "Logprob", "LogprobsOnePosition"]


@dataclass(slots=True)
class Logprob:
    """One token's log-probability at one position."""

    logprob: float
    """Natural logarithm."""
    rank: int | None = None
    """1 = the most likely token of the vocabulary."""
    decoded_token: str | None = None


LogprobsOnePosition = dict[int, Logprob]


class FlatLogprobs(Sequence[LogprobsOnePosition | None]):
    """Reads like `list[dict[int, Logprob] | None]`, but keeps four flat arrays: no object per token lives for the collector to visit.

    None stands for a position without a prediction (the first token of a prompt).
    """

    __slots__ = ("_has_value", "decoded_tokens", "ends", "logprobs", "ranks", "token_ids")

    def __init__(self) -> None:
        self.token_ids = array("q")
        self.logprobs = array("d")
        self.ranks: list[int | None] = []
        self.decoded_tokens: list[str | None] = []
        self.ends = array("q")
        """[positions] index in the arrays behind each position's last entry."""
        self._has_value = bytearray()

    def append(self, position: LogprobsOnePosition | None) -> None:
        """Add one position given as a dict, or None."""
        entries = position or {}
        self._add(
            entries.keys(),
            (e.logprob for e in entries.values()),
            (e.rank for e in entries.values()),
            (e.decoded_token for e in entries.values()),
            has_value=position is not None,
        )

    def append_arrays(
        self,
        token_ids: Iterable[int],
        logprobs: Iterable[float],
        ranks: Iterable[int | None],
        decoded_tokens: Iterable[str | None],
    ) -> None:
        """Add one position given as four columns of equal length."""
        self._add(token_ids, logprobs, ranks, decoded_tokens, has_value=True)

    def extend(self, positions: Iterable[LogprobsOnePosition | None]) -> None:
        """Add several positions."""
        for position in positions:
            self.append(position)

    def _add(
        self,
        token_ids: Iterable[int],
        logprobs: Iterable[float],
        ranks: Iterable[int | None],
        decoded_tokens: Iterable[str | None],
        *,
        has_value: bool,
    ) -> None:
        self.token_ids.extend(token_ids)
        self.logprobs.extend(logprobs)
        self.ranks.extend(ranks)
        self.decoded_tokens.extend(decoded_tokens)
        self.ends.append(len(self.token_ids))
        self._has_value.append(has_value)
        assert len(self.token_ids) == len(self.logprobs) == len(self.ranks) == len(self.decoded_tokens)

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, index: int) -> LogprobsOnePosition | None: ...
    @overload
    def __getitem__(self, index: slice) -> FlatLogprobs: ...
    def __getitem__(self, index: int | slice) -> LogprobsOnePosition | FlatLogprobs | None:
        if isinstance(index, slice):
            part = FlatLogprobs()
            part.extend(self._position(i) for i in range(*index.indices(len(self))))
            return part
        if not -len(self) <= index < len(self):
            raise IndexError(f"position {index} of {len(self)} positions")
        return self._position(index % len(self))

    def _position(self, index: int) -> LogprobsOnePosition | None:
        if not self._has_value[index]:
            return None
        span = slice(self.ends[index - 1] if index else 0, self.ends[index])
        columns = (self.logprobs[span], self.ranks[span], self.decoded_tokens[span])
        entries = map(Logprob, *columns)
        return dict(zip(self.token_ids[span], entries, strict=True))

    def __iter__(self) -> Iterator[LogprobsOnePosition | None]:
        return (self._position(i) for i in range(len(self)))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, (FlatLogprobs, list)):
            return list(self) == list(other)
        return NotImplemented

    __hash__ = None  # type: ignore[assignment] # it is mutable, like a list

    def __repr__(self) -> str:
        return f"FlatLogprobs({list(self)!r})"
