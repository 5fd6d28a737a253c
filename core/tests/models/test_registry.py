"""Architectures by name: the built-in ones, and models from outside by class and by path."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from core.tests.models.checkpoints import FAMILIES, VOCAB, edit_config, expected_log_probs, random_texts
from core.tests.models.running import PagedRun, load
from vllm import LLM
from vllm.attention.layer import Attention
from vllm.errors import ConfigError
from vllm.model_executor.context import ModelContext
from vllm.model_executor.layers.linear import QKVParallelLinear, RowParallelLinear
from vllm.model_executor.layers.vocab import ParallelLMHead, VocabParallelEmbedding
from vllm.model_executor.loader.names import CheckpointNames
from vllm.model_executor.models.families.llama import LlamaForCausalLM
from vllm.model_executor.models.interface import CausalLM
from vllm.model_executor.models.registry import ModelRegistry
from vllm.model_executor.models.spec import DecoderSpec


@pytest.fixture(autouse=True)
def registered_models() -> Iterator[None]:
    """What a test registers is gone after it."""
    before = dict(ModelRegistry._models)
    yield
    ModelRegistry._models = before


def test_built_in_architectures_load() -> None:
    for architecture in ModelRegistry.get_supported_archs():
        assert issubclass(ModelRegistry.resolve(architecture), CausalLM)
    assert ModelRegistry.resolve("LLaMAForCausalLM") is ModelRegistry.resolve("LlamaForCausalLM")


def test_the_first_known_of_several_is_taken() -> None:
    assert ModelRegistry.first_supported(["Unknown", "Qwen3ForCausalLM"]) == "Qwen3ForCausalLM"


def test_an_unknown_architecture_lists_near_names() -> None:
    with pytest.raises(ConfigError) as caught:
        ModelRegistry.resolve("LamaForCausalLM")
    assert "No model is known for the architecture LamaForCausalLM." in str(caught.value)
    assert str(caught.value).endswith("Did you mean: LlamaForCausalLM?")


def test_a_class_that_only_the_script_registered_is_unknown_to_workers() -> None:
    ModelRegistry.register_model("Mine", LlamaForCausalLM)
    with pytest.raises(ConfigError) as told:
        LLM(hf_overrides={"architectures": ["Mine"]}, tensor_parallel_size=2, max_model_len=64, load_format="dummy")
    text = str(told.value)
    assert "No model is known for the architecture Mine" in text and "Raised by: Worker" in text
    assert "workers are fresh processes" in text
    assert "dotted path" in text and "installed package" in text and "vllm.general_plugins" in text


@pytest.mark.parametrize(
    "path, message",
    [
        ("no.such.package:Model", "importing no.such.package failed"),
        (f"{__name__}:Sclaed", "Did you mean: Scaled"),
        (f"{__name__}:VOCAB", "no subclass of CausalLM"),
    ],
)
def test_paths_that_lead_nowhere(path: str, message: str) -> None:
    ModelRegistry.register_model("MyModel", path)
    with pytest.raises(ConfigError, match=message):
        ModelRegistry.resolve("MyModel")


def test_a_path_needs_a_class() -> None:
    with pytest.raises(ConfigError, match=r"package\.module:Class"):
        ModelRegistry.register_model("MyModel", "just_a_module")


class Scaled(LlamaForCausalLM):
    """From outside: the core's decoder, another spec."""

    @classmethod
    def make_spec(cls, hf_config: Mapping[str, Any]) -> DecoderSpec:
        from dataclasses import replace

        return replace(super().make_spec(hf_config), logits_scale=0.5)


def test_a_class_from_outside_that_changes_the_spec(tmp_path: Path) -> None:
    theirs = FAMILIES[0].write(tmp_path)
    edit_config(tmp_path, architectures=["ScaledForCausalLM"])
    ModelRegistry.register_model("ScaledForCausalLM", Scaled)
    text = random_texts((20,))[0]
    found = PagedRun(load(tmp_path), [text]).finish(7)[0]
    wanted = (expected_log_probs(theirs, text) * 0.5).log_softmax(-1)
    assert (found - wanted).abs().max() < 1e-4


class OneLayer(CausalLM):
    """From outside, written from scratch: one attention over the embeddings, no norm, no positions."""

    checkpoint_names = CheckpointNames(stacked={name: ("qkv", name) for name in "qkv"})

    def __init__(self, ctx: ModelContext) -> None:
        super().__init__(ctx)
        self.embed = VocabParallelEmbedding(ctx, VOCAB, 8)
        self.qkv = QKVParallelLinear(ctx, "qkv", 8, num_heads=2, num_kv_heads=1, head_size=4, bias=False)
        attention = Attention(ctx, "attention", num_heads=2, num_kv_heads=1, head_size=4, scale=0.5)
        self.attention = attention
        self.attention_layers = [attention]
        self.out = RowParallelLinear(ctx, "out", 8, 8, bias=False)
        self.scale = nn.Parameter(torch.empty(8, dtype=ctx.dtype, device=ctx.device))
        self.head = ParallelLMHead(ctx, VOCAB, 8)

    def forward(
        self, input_ids_T: torch.Tensor, positions_T: torch.Tensor, kv_caches: list[Any], metadata: Any
    ) -> torch.Tensor:
        heads = self.qkv(self.embed(input_ids_T)).unflatten(-1, (-1, 4))
        out = self.attention(*heads.split((2, 1, 1), dim=-2), kv_caches[0], metadata)
        return self.out(out.flatten(-2)) * self.scale

    def compute_logits(self, hidden_NH: torch.Tensor) -> torch.Tensor:
        return self.head(hidden_NH)


def test_a_model_from_scratch_by_path(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    torch.manual_seed(0)
    shapes = {"embed": (VOCAB, 8), "q": (8, 8), "k": (4, 8), "v": (4, 8), "out": (8, 8), "head": (VOCAB, 8)}
    weights = {f"{name}.weight": torch.randn(shape) for name, shape in shapes.items()}
    save_file({**weights, "scale": torch.randn(8).abs()}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text('{"architectures": ["OneLayer"], "max_position_embeddings": 64}')
    sys.modules.setdefault("outside_models", sys.modules[__name__])
    ModelRegistry.register_model("OneLayer", "outside_models:OneLayer")

    text = random_texts((20,))[0]
    found = PagedRun(load(tmp_path), [text]).finish(7)[0]
    assert (found - _by_hand(tmp_path, text)).abs().max() < 1e-4


def _by_hand(folder: Path, text: list[int]) -> torch.Tensor:
    from safetensors.torch import load_file

    weights = load_file(folder / "model.safetensors")
    x_TX = weights["embed.weight"][text]
    q_HTD = (x_TX @ weights["q.weight"].T).view(-1, 2, 4).transpose(0, 1)
    k_TD, v_TD = x_TX @ weights["k.weight"].T, x_TX @ weights["v.weight"].T
    scores_HTT = q_HTD @ k_TD.T * 0.5 + torch.full((20, 20), float("-inf")).triu(1)
    attended_TX = (scores_HTT.softmax(-1) @ v_TD).transpose(0, 1).flatten(1)
    return ((attended_TX @ weights["out.weight"].T * weights["scale"]) @ weights["head.weight"].T).log_softmax(-1)
