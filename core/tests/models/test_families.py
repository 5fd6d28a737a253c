"""Every family equals Transformers in fp32: ragged batches, computed in chunks through a paged cache with shuffled blocks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import transformers

from core.tests.models.checkpoints import (
    FAMILIES,
    LONGEST,
    Family,
    edit_config,
    expected_greedy,
    expected_log_probs,
    random_texts,
    rope,
)
from core.tests.models.running import BLOCK_SIZE, PagedRun, load
from vllm.model_executor.models.interface import CausalLM

TOLERANCE = 1e-4
LENGTHS = (1, BLOCK_SIZE - 1, BLOCK_SIZE, BLOCK_SIZE + 1, 50)


@dataclass
class Pair:
    """A model of ours and the same of Transformers."""

    ours: CausalLM
    theirs: transformers.PreTrainedModel
    family: Family
    folder: Path


@pytest.fixture(scope="module", params=FAMILIES, ids=lambda family: family.name)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    folder = tmp_path_factory.mktemp("model")
    theirs = request.param.write(folder)
    return Pair(load(folder, max_model_len=LONGEST), theirs, request.param, folder)


@pytest.mark.parametrize("chunk", [7, LONGEST])
def test_log_probabilities_equal_transformers(pair: Pair, chunk: int) -> None:
    texts = random_texts(LENGTHS)
    for text, found in zip(texts, PagedRun(pair.ours, texts).finish(chunk), strict=True):
        wanted = expected_log_probs(pair.theirs, text)
        assert (found - wanted).abs().max() < TOLERANCE, f"{len(text)} tokens"


def test_greedy_tokens_equal_transformers(pair: Pair) -> None:
    texts = random_texts((3, BLOCK_SIZE - 2, 40))
    wanted = [expected_greedy(pair.theirs, text, 8) for text in texts]
    assert PagedRun(pair.ours, texts).greedy(8, chunk=9) == wanted


def test_windows_change_the_result_where_a_family_has_them(pair: Pair) -> None:
    """The comparison above would pass without windows if the texts were too short to notice them."""
    assert any(layer.spec.sliding_window == 9 for layer in pair.ours.attention_layers) == pair.family.sliding
    if not pair.family.sliding:
        return
    text = random_texts((40,))[0]
    full = load(pair.folder, max_model_len=LONGEST, overrides={"sliding_window": None})
    assert (PagedRun(full, [text]).finish(LONGEST)[0] - expected_log_probs(pair.theirs, text)).abs().max() > 0.1


@pytest.mark.parametrize(
    "old, new",
    [
        ({"rope_scaling": {"type": "linear", "factor": 4.0}}, rope("linear", factor=4.0)),
        ({"rope_scaling": {"type": "su", "short_factor": [2.0] * 8, "long_factor": [1.0] * 8, "factor": 2.0}},
         rope("longrope", short_factor=[2.0] * 8, long_factor=[1.0] * 8, factor=2.0)),
        ({"rope_scaling": None, "rope_theta": 10000.0}, {}),
    ],
    ids=["linear", "su", "theta"],
)  # fmt: skip
def test_old_rope_keys_mean_the_same(tmp_path: Path, old: dict[str, object], new: dict[str, object]) -> None:
    theirs = Family("llama", "LlamaConfig", new).write(tmp_path)
    edit_config(tmp_path, rope_parameters=None, **old)
    text = random_texts((40,))[0]
    found = PagedRun(load(tmp_path, max_model_len=LONGEST), [text]).finish(11)[0]
    assert (found - expected_log_probs(theirs, text)).abs().max() < TOLERANCE


@pytest.mark.parametrize(
    "name, changes",
    [
        ("qwen2-windowed", {}),
        ("gemma2", {}),
        ("exaone4", {}),
        ("exaone4", {"sliding_window_pattern": "LG"}),
    ],
)
def test_older_configs_name_no_layer_types(tmp_path: Path, name: str, changes: dict[str, object]) -> None:
    theirs = next(family for family in FAMILIES if family.name == name).write(tmp_path)
    edit_config(tmp_path, layer_types=None, **changes)
    text = random_texts((40,))[0]
    found = PagedRun(load(tmp_path, max_model_len=LONGEST), [text]).finish(11)[0]
    assert (found - expected_log_probs(theirs, text)).abs().max() < TOLERANCE


def test_the_comparison_sees_a_wrong_rotation(tmp_path: Path) -> None:
    """The comparisons above can fail."""
    theirs = FAMILIES[0].write(tmp_path)
    text = random_texts((40,))[0]
    wrong = load(tmp_path, overrides={"rope_parameters": {"rope_theta": 500.0}})
    assert (PagedRun(wrong, [text]).finish(11)[0] - expected_log_probs(theirs, text)).abs().max() > 0.1


@pytest.mark.parametrize(
    "settings",
    [
        rope("dynamic", factor=2.0),
        rope(
            "longrope",
            short_factor=[1.0] * 8,
            long_factor=[1.5 + i for i in range(8)],
            original_max_position_embeddings=32,
        ),
    ],
    ids=["dynamic", "longrope"],
)
def test_types_that_depend_on_the_length_take_the_longest_context_served(
    tmp_path: Path, settings: dict[str, object]
) -> None:
    """Transformers changes the frequencies while a text grows; ours are those of a text as long as the engine's context."""
    theirs = Family("llama", "LlamaConfig", settings).write(tmp_path)
    longest = 2 * LONGEST if settings["rope_parameters"]["rope_type"] == "dynamic" else LONGEST
    text = random_texts((longest,))[0]
    found = PagedRun(load(tmp_path), [text]).finish(40)[0]
    assert len(found) == longest
    assert (found - expected_log_probs(theirs, text)).abs().max() < TOLERANCE


def test_sharded_checkpoint_equals_one_file(tmp_path: Path) -> None:
    theirs = FAMILIES[0].write(tmp_path, max_shard_size="60KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    text = random_texts((20,))[0]
    found = PagedRun(load(tmp_path), [text]).finish(20)[0]
    assert (found - expected_log_probs(theirs, text)).abs().max() < TOLERANCE


def test_16_bits_stay_near_fp32(pair: Pair) -> None:
    text = random_texts((30,))[0]
    half = PagedRun(load(pair.folder, max_model_len=LONGEST, dtype="bfloat16"), [text]).finish(30)[0]
    assert (half.exp() - expected_log_probs(pair.theirs, text).exp()).abs().max() < 0.15
    assert torch.isfinite(half).all()
