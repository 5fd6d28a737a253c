"""Owns which architecture is served by which class. Importing it imports no torch: classes are named by path and loaded when wanted."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from vllm.errors import ConfigError, near_names
from vllm.logger import init_logger

if TYPE_CHECKING:
    from vllm.model_executor.models.interface import CausalLM

__all__ = ["ModelRegistry"]

logger = init_logger(__name__)

_FAMILIES = "vllm.model_executor.models.families"
_BUILT_IN = {
    "Exaone4ForCausalLM": f"{_FAMILIES}.exaone4:Exaone4ForCausalLM",
    "Gemma2ForCausalLM": f"{_FAMILIES}.gemma2:Gemma2ForCausalLM",
    "GraniteForCausalLM": f"{_FAMILIES}.granite:GraniteForCausalLM",
    "LLaMAForCausalLM": f"{_FAMILIES}.llama:LlamaForCausalLM",
    "LlamaForCausalLM": f"{_FAMILIES}.llama:LlamaForCausalLM",
    "MistralForCausalLM": f"{_FAMILIES}.mistral:MistralForCausalLM",
    "MixtralForCausalLM": f"{_FAMILIES}.mixtral:MixtralForCausalLM",
    "Qwen2ForCausalLM": f"{_FAMILIES}.qwen2:Qwen2ForCausalLM",
    "Qwen2MoeForCausalLM": f"{_FAMILIES}.qwen2_moe:Qwen2MoeForCausalLM",
    "Qwen3ForCausalLM": f"{_FAMILIES}.qwen3:Qwen3ForCausalLM",
    "Qwen3MoeForCausalLM": f"{_FAMILIES}.qwen3_moe:Qwen3MoeForCausalLM",
}


class _ModelRegistry:
    """Architecture names, as in a config's `architectures`, with their classes or dotted paths."""

    def __init__(self) -> None:
        self._models: dict[str, str | type[Any]] = dict(_BUILT_IN)

    def register_model(self, architecture: str, model: str | type[Any]) -> None:
        """Serve `architecture` by a class, or by the path "package.module:Class", which is imported only when such a model is loaded.

        Counts for this process. Workers are processes of their own where there are several: they load the plugins of the group
        `vllm.general_plugins`, so that is where a model for them is registered.

        Raises:
            ConfigError: a path without a class name.
        """
        if isinstance(model, str) and not all(model.replace(":", ".").rpartition(".")[::2]):
            what = f"ModelRegistry.register_model({architecture!r}, {model!r}): no path of a class."
            raise ConfigError(what, remedy='give a class, or "package.module:Class"')
        if architecture in self._models:
            logger.warning("The architecture %s is already served; it is now served by %s.", architecture, model)
        self._models[architecture] = model

    def get_supported_archs(self) -> list[str]:
        """All architectures that can be served, sorted."""
        return sorted(self._models)

    def first_supported(self, architectures: list[str]) -> str:
        """The first of a config's `architectures` that can be served.

        Raises:
            ConfigError: none can; the text names near ones.
        """
        for architecture in architectures:
            if architecture in self._models:
                return architecture
        named = ", ".join(architectures)
        raise ConfigError(
            f"No model is known for the architecture {named}. Known: {', '.join(self.get_supported_archs())}.",
            cause="the family is not written yet, the plugin that registers it is not loaded (see VLLM_PLUGINS), or a script "
            "has registered it for its own process: workers are fresh processes, which know nothing of that",
            remedy="register its dotted path with ModelRegistry.register_model in an installed package, from an entry point of "
            "the group vllm.general_plugins, which every process loads (with one worker the script's own call is enough); "
            "or name a compatible architecture with --hf-overrides",
            candidates=dict.fromkeys(name for wanted in architectures for name in _near(wanted, self._models)),
        )

    def resolve(self, architecture: str) -> type[CausalLM]:
        """The class that serves `architecture`, imported now.

        Raises:
            ConfigError: an unknown architecture, a path that cannot be imported, or a class that is no CausalLM.
        """
        model = self._models[self.first_supported([architecture])]
        found = _load(architecture, model) if isinstance(model, str) else model
        from vllm.model_executor.models.interface import CausalLM

        if isinstance(found, type) and issubclass(found, CausalLM):
            return found
        what = f"The architecture {architecture} is registered as {model!r}, which is no subclass of CausalLM."
        raise ConfigError(what, remedy="subclass vllm.model_executor.models.interface.CausalLM, or a family's class")


def _near(wanted: str, known: Iterable[str]) -> list[str]:
    """Compared by the family's part of the name: the endings are alike in all of them."""
    by_family = {_family(name): name for name in known}
    return [by_family[family] for family in near_names(_family(wanted), by_family)]


def _family(architecture: str) -> str:
    return re.sub(r"(For|LMHead)[A-Z].*$", "", architecture)


def _load(architecture: str, path: str) -> Any:
    module_name, _, class_name = path.replace(":", ".").rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        what = f"The architecture {architecture} is registered as {path}, but importing {module_name} failed: {error}."
        raise ConfigError(what, remedy="check the path, and that its package is installed in this process") from error
    if class_name not in vars(module):
        what = f"The architecture {architecture} is registered as {path}, but {module_name} has no {class_name}."
        raise ConfigError(what, remedy="correct the path", candidates=near_names(class_name, vars(module)))
    return vars(module)[class_name]


ModelRegistry = _ModelRegistry()
