"""Log-probabilities as users read them, from the engine's arrays."""

from __future__ import annotations

import numpy as np
import pytest

from vllm.engine.logprobs_view import LogprobsView
from vllm.messages import SampledLogprobs


@pytest.mark.parametrize("flat", [False, True], ids=["dicts", "flat"])
def test_tokens_behind_a_stop_string_do_not_count_in_the_sum(flat: bool) -> None:
    three = SampledLogprobs(
        rows_R=np.arange(3, dtype=np.int32),
        token_ids_RK=np.array([[7, 1], [8, 8], [9, 2]], np.int32),
        logprobs_RK=np.array([[-2.0, -0.5], [-0.25, -0.25], [-4.0, -0.5]], np.float32),
        sampled_rank_R=np.array([3, 1, 5], np.int32),
        num_R=np.array([2, 2, 2], np.int32),
    )
    view = LogprobsView(None, flat=flat)
    view.add_sampled(three, range(3))
    assert view.cumulative == -6.25
    view.truncate(2)
    assert [list(position or ()) for position in view.positions] == [[7, 1], [8]]
    assert view.cumulative == -2.25
