"""A model from outside: `ModelRegistry.register_model`, by class or by path, usually in a general plugin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from core.tests.extension_points.engines import example_engine, generated, plain_tokens
from vllm.model_executor.models import registry
from vllm.model_executor.models.families.llama import LlamaForCausalLM
from vllm.model_executor.models.spec import DecoderSpec


class QuirkyForCausalLM(LlamaForCausalLM):
    """Llama under a name of its own, whose config calls the norm's epsilon otherwise."""

    @classmethod
    def make_spec(cls, hf_config: Mapping[str, Any]) -> DecoderSpec:
        return super().make_spec({**hf_config, "rms_norm_eps": hf_config["quirky_eps"]})


@pytest.mark.parametrize("model", [QuirkyForCausalLM, f"{__name__}:QuirkyForCausalLM"], ids=["class", "path"])
def test_a_checkpoint_of_an_architecture_from_outside(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry.ModelRegistry, "_models", dict(registry.ModelRegistry._models))
    registry.ModelRegistry.register_model("QuirkyForCausalLM", model)
    overrides = {"architectures": ["QuirkyForCausalLM"], "quirky_eps": 1e-5}
    with example_engine(hf_overrides=overrides) as engine:
        assert engine.config.model_config.architecture == "QuirkyForCausalLM"
        assert engine.apply_model(lambda model: type(model).__name__) == ["QuirkyForCausalLM"]
        assert generated(engine) == plain_tokens()
