"""Frequencies of every type of rotation against Transformers, entry by entry, and the table made of them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from vllm.errors import ConfigError
from vllm.model_executor.layers.rotary import RotaryTable
from vllm.model_executor.layers.rotary_frequencies import inverse_frequencies
from vllm.model_executor.loader.rope_config import read_rope_config
from vllm.model_executor.ops.rotary import RotaryEmbedding

_LISTS = {"short_factor": [1.0 + i / 7 for i in range(32)], "long_factor": [2.0 + i for i in range(32)]}

SETTINGS: tuple[dict[str, Any], ...] = (
    {"rope_type": "linear", "factor": 3.0},
    {"rope_type": "dynamic", "factor": 3.0},
    {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 512},
    {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 512},
    {"rope_type": "yarn", "original_max_position_embeddings": 512, "factor": None},
    {"rope_type": "yarn", "factor": 4.0, "beta_fast": 16, "beta_slow": 3, "truncate": False},
    {"rope_type": "yarn", "factor": 40.0, "mscale": 1.0, "mscale_all_dim": 0.7},
    {"rope_type": "yarn", "factor": 4.0, "attention_factor": 1.3},
    {"rope_type": "longrope", **_LISTS},
    {"rope_type": "longrope", **_LISTS, "original_max_position_embeddings": 512},
    {"rope_type": "longrope", **_LISTS, "factor": 16.0, "attention_factor": 1.2},
)  # fmt: skip


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("max_model_len", [2048, 4096])
def test_frequencies_equal_transformers(settings: dict[str, Any], max_model_len: int) -> None:
    parameters = {"rope_theta": 50000.0, **settings}
    config = LlamaConfig(
        hidden_size=256, num_attention_heads=4, max_position_embeddings=2048, rope_parameters=parameters
    )
    wanted_F, wanted_factor = ROPE_INIT_FUNCTIONS[settings["rope_type"]](config, seq_len=max_model_len)
    rope = read_rope_config({"max_position_embeddings": 2048, "rope_parameters": parameters})
    found_F, found_factor = inverse_frequencies(rope, 64, max_model_len)
    torch.testing.assert_close(found_F, wanted_F, rtol=1e-6, atol=0)
    assert found_factor == pytest.approx(wanted_factor)


def test_a_wrong_number_of_factors_is_refused() -> None:
    rope = read_rope_config({"rope_parameters": {"rope_type": "longrope", **_LISTS}})
    with pytest.raises(ConfigError, match="short_factor has 32 numbers, 8 are needed"):
        inverse_frequencies(rope, 16, 100)


@pytest.mark.parametrize("interleaved, layout", [(False, [0, 1, 0, 1]), (True, [0, 0, 1, 1])])
def test_the_table_by_hand(interleaved: bool, layout: list[int]) -> None:
    """Two frequencies, 1 and 1/100, of the first half of a head of 8; the sine is negative at the first of each pair."""
    rope = read_rope_config({"rope_theta": 10000.0, "partial_rotary_factor": 0.5})
    table = RotaryTable(
        rope,
        RotaryEmbedding(interleaved=interleaved),
        head_size=8,
        max_model_len=5,
        dtype=torch.float32,
        device=torch.device("cpu"),
    )
    cos_TR, sin_TR = table(torch.tensor([3, 0]))
    angles_TR = torch.tensor([[3.0, 0.03], [0.0, 0.0]])[:, layout]
    sign_R = torch.tensor([-1, 1, -1, 1]) if interleaved else torch.tensor([-1, -1, 1, 1])
    torch.testing.assert_close(cos_TR, angles_TR.cos())
    torch.testing.assert_close(sin_TR, angles_TR.sin() * sign_R)
