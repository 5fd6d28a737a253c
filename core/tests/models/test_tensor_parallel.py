"""Several ranks compute what one computes: whole models, and what each layer keeps."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from core.tests.models.checkpoints import FAMILIES, LONGEST, VOCAB, Family, random_texts
from core.tests.models.running import PagedRun, load, make_context
from core.tests.models.thread_ranks import ThreadRank, on_ranks
from vllm.errors import ConfigError
from vllm.model_executor.layers.linear import (
    ColumnParallelLinear,
    MergedColumnParallelLinear,
    QKVParallelLinear,
    RowParallelLinear,
)
from vllm.model_executor.layers.vocab import ParallelLMHead, VocabParallelEmbedding
from vllm.model_executor.layers.weights import ShardedModule


@pytest.mark.parametrize("world_size", [2, 4])
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_ranks_together_equal_one(tmp_path: Path, family: Family, world_size: int) -> None:
    """With 4 ranks and 2 key/value heads each of these is kept twice; 97 tokens leave padding in the vocabulary."""
    family.write(tmp_path)
    texts = random_texts((1, 17, 40))
    wanted = PagedRun(load(tmp_path, max_model_len=LONGEST), texts).finish(11)

    def run(tp: ThreadRank) -> list[torch.Tensor]:
        return PagedRun(load(tmp_path, max_model_len=LONGEST, tp=tp), texts).finish(11)

    for found in on_ranks(world_size, run):
        for ours, whole in zip(found, wanted, strict=True):
            assert ours.shape == whole.shape == (len(whole), VOCAB)
            assert (ours - whole).abs().max() < 1e-4


def test_dummy_weights_do_not_depend_on_the_split(tmp_path: Path) -> None:
    FAMILIES[1].write(tmp_path)
    text = random_texts((12,))
    wanted = PagedRun(load(tmp_path, load_format="dummy"), text).finish(12)[0]

    def run(tp: ThreadRank) -> torch.Tensor:
        return PagedRun(load(tmp_path, load_format="dummy", tp=tp), text).finish(12)[0]

    for found in on_ranks(2, run):
        assert (found - wanted).abs().max() < 1e-5


@pytest.mark.parametrize(
    "sizes, world_size, named",
    [
        ({"num_attention_heads": 4}, 3, "4 attention heads"),
        (
            {"num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 16, "hidden_size": 96},
            3,
            "2 key/value heads",
        ),
        ({"intermediate_size": 95}, 2, "95 outputs of gate"),
    ],
)
def test_what_does_not_split_is_refused(tmp_path: Path, sizes: dict[str, int], world_size: int, named: str) -> None:
    Family("llama", "LlamaConfig", sizes).write(tmp_path)
    with pytest.raises(ConfigError, match=named):
        load(tmp_path, load_format="dummy", tp=ThreadRank(0, _Nowhere(world_size)))


class _Nowhere:
    """A meeting place where nobody meets: the layers are refused before."""

    def __init__(self, world_size: int) -> None:
        self.tensors = [None] * world_size


# -- layer by layer: the parameter's rows, by hand ------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    FAMILIES[0].write(tmp_path)
    return tmp_path


def _fill(layer: ShardedModule, name: str, part: str | None, whole: torch.Tensor) -> None:
    placement = layer.loaders[name].place(part)
    assert placement.checkpoint_shape == tuple(whole.shape)
    placement.target.copy_(whole[placement.source])


def _numbered(rows: int, columns: int) -> torch.Tensor:
    """Row r, column c holds 10 r + c."""
    return torch.arange(rows).unsqueeze(1) * 10.0 + torch.arange(columns)


def test_column_layer_keeps_a_stretch_of_rows(folder: Path) -> None:
    def run(tp: ThreadRank) -> torch.Tensor:
        layer = ColumnParallelLinear(make_context(folder, tp=tp), "layer", 2, 4, bias=True)
        _fill(layer, "weight", None, _numbered(4, 2))
        _fill(layer, "bias", None, torch.tensor([1.0, 2.0, 3.0, 4.0]))
        return layer(torch.tensor([[1.0, 0.0]]))

    assert [out.tolist() for out in on_ranks(2, run)] == [[[1.0, 12.0]], [[23.0, 34.0]]]


def test_merged_layer_keeps_a_stretch_of_every_part(folder: Path) -> None:
    def run(tp: ThreadRank) -> torch.Tensor:
        layer = MergedColumnParallelLinear(make_context(folder, tp=tp), "layer", 1, {"gate": 2, "up": 4}, bias=False)
        _fill(layer, "weight", "gate", _numbered(2, 1))
        _fill(layer, "weight", "up", 100 + _numbered(4, 1))
        return layer(torch.tensor([[1.0]]))

    assert [out.tolist() for out in on_ranks(2, run)] == [[[0.0, 100.0, 110.0]], [[10.0, 120.0, 130.0]]]


@pytest.mark.parametrize(
    "world_size, wanted",
    [
        (1, [[0, 10, 20, 30, 100, 110, 200, 210]]),
        (2, [[0, 10, 100, 200], [20, 30, 110, 210]]),
        (4, [[0, 100, 200], [10, 100, 200], [20, 110, 210], [30, 110, 210]]),
    ],
)
def test_qkv_layer_splits_by_heads_and_repeats_scarce_ones(
    folder: Path, world_size: int, wanted: list[list[int]]
) -> None:
    def run(tp: ThreadRank) -> torch.Tensor:
        context = make_context(folder, tp=tp)
        layer = QKVParallelLinear(context, "layer", 1, num_heads=4, num_kv_heads=2, head_size=1, bias=False)
        _fill(layer, "weight", "q", _numbered(4, 1))
        _fill(layer, "weight", "k", 100 + _numbered(2, 1))
        _fill(layer, "weight", "v", 200 + _numbered(2, 1))
        assert layer.num_heads == 4 // world_size
        assert layer.num_kv_heads == max(1, 2 // world_size)
        return layer(torch.tensor([[1.0]]))

    assert [out[0].tolist() for out in on_ranks(world_size, run)] == wanted


def test_row_layer_sums_over_the_ranks_and_adds_the_bias_once(folder: Path) -> None:
    def run(tp: ThreadRank) -> torch.Tensor:
        layer = RowParallelLinear(make_context(folder, tp=tp), "layer", 4, 2, bias=True)
        _fill(layer, "weight", None, _numbered(2, 4))
        _fill(layer, "bias", None, torch.tensor([0.5, 0.25]))
        x_T4 = torch.tensor([[1.0, 10.0, 100.0, 1000.0]])
        return layer(x_T4.chunk(2, dim=-1)[tp.rank])

    assert [out.tolist() for out in on_ranks(2, run)] == [[[3210.5, 14320.25]]] * 2


def test_vocabulary_is_padded_and_the_padding_never_shows(folder: Path) -> None:
    """5 tokens on 4 ranks: two rows each, the last rank and a half hold padding only."""

    def run(tp: ThreadRank) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        context = make_context(folder, tp=tp)
        embedding, head = VocabParallelEmbedding(context, 5, 2), ParallelLMHead(context, 5, 2)
        _fill(embedding, "weight", None, 1 + _numbered(5, 2))
        _fill(head, "weight", None, 1 + _numbered(5, 2))
        assert embedding.weight.shape == (2, 2)
        return embedding(torch.tensor([4, 0, 2])), head(torch.tensor([[1.0, 0.0]])), embedding.weight

    results = on_ranks(4, run)
    for embedded, logits, _ in results:
        assert embedded.tolist() == [[41.0, 42.0], [1.0, 2.0], [21.0, 22.0]]
        assert logits.tolist() == [[1.0, 11.0, 21.0, 31.0, 41.0]]
    assert results[2][2].tolist() == [[41.0, 42.0], [0.0, 0.0]]
    assert not results[3][2].any()
