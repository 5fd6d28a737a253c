"""Owns the way from the engine's log-probability arrays to what users read: dicts of `Logprob`, or `FlatLogprobs`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vllm.outputs import FlatLogprobs, Logprob

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from vllm.messages import PromptLogprobs, SampledLogprobs
    from vllm.outputs import LogprobsOnePosition
    from vllm.text.tokenizer import Tokenizer

__all__ = ["LogprobsView"]


class LogprobsView:
    """The growing log-probabilities of one output or one prompt."""

    def __init__(self, tokenizer: Tokenizer | None, *, flat: bool, others_are_best: bool = True) -> None:
        """`others_are_best`: beside a position's own token stand the most likely ones, so that their place is their rank."""
        self._tokenizer = tokenizer
        self._others_are_best = others_are_best
        self.positions: FlatLogprobs | list[LogprobsOnePosition | None] = FlatLogprobs() if flat else []
        self.cumulative = 0.0
        """Sum over the positions' own tokens."""

    def add_sampled(self, logprobs: SampledLogprobs, rows: Iterable[int]) -> None:
        """Append the given rows of a step's sampled tokens."""
        for row in rows:
            columns = int(logprobs.num_R[row])
            self._add(
                logprobs.token_ids_RK[row, :columns].tolist(),
                logprobs.logprobs_RK[row, :columns].tolist(),
                int(logprobs.sampled_rank_R[row]),
            )

    def add_prompt(self, stretch: PromptLogprobs) -> None:
        """Append a stretch of the prompt; the first token of a prompt has no prediction."""
        if not len(self.positions):
            self.positions.append(None)
        assert stretch.start == len(self.positions), "prompt log-probabilities came out of order"
        for ids, values, rank in zip(stretch.token_ids_TK, stretch.logprobs_TK, stretch.rank_T, strict=True):
            self._add(ids.tolist(), values.tolist(), int(rank))

    def truncate(self, length: int) -> None:
        """Drop positions past `length` (tokens behind a stop string)."""
        self.positions = self.positions[:length]
        self.cumulative = sum(next(iter(position.values())).logprob for position in self.positions if position)

    def since(self, start: int) -> FlatLogprobs | list[LogprobsOnePosition | None]:
        """Positions from `start` on, as a copy."""
        return self.positions[start:]

    def _add(self, token_ids: Sequence[int], logprobs: Sequence[float], own_rank: int) -> None:
        """One position: its own token first, then the others. The rank of a token that the user listed is not known."""
        self.cumulative += logprobs[0]
        others = len(token_ids) - 1
        ranks = [own_rank, *(range(1, others + 1) if self._others_are_best else [None] * others)]
        texts = [self._text(token_id) for token_id in token_ids]
        own_again = token_ids.index(token_ids[0], 1) if token_ids[0] in token_ids[1:] else None
        keep = [column for column in range(len(token_ids)) if column != own_again]
        if isinstance(self.positions, FlatLogprobs):
            columns = (token_ids, logprobs, ranks, texts)
            self.positions.append_arrays(*([column[i] for i in keep] for column in columns))  # type: ignore[arg-type]
            return
        entry = {token_ids[i]: Logprob(logprobs[i], ranks[i], texts[i]) for i in keep}
        self.positions.append(entry)

    def _text(self, token_id: int) -> str | None:
        return None if self._tokenizer is None else self._tokenizer.token_text(token_id)
