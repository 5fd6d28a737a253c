"""Owns the choice of the attention backend: by dotted path from the user or the platform, checked before weights are loaded."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from vllm.attention.backends.abstract import AttentionBackend, AttentionSpec
from vllm.errors import ConfigError, near_names

if TYPE_CHECKING:
    from vllm.config import VllmConfig
    from vllm.platforms.interface import Platform

__all__ = ["check_backend_fits_layer", "select_attention_backend"]

BackendClass = type[AttentionBackend[Any]]


def select_attention_backend(config: VllmConfig, platform: Platform) -> BackendClass:
    """The class that `--attention-backend` names, else the platform's; its dtype and block size are checked here.

    Raises:
        ConfigError: no such class, no AttentionBackend, or one that cannot run this configuration.
    """
    path = config.attention_backend or platform.get_attn_backend_cls()
    origin = "--attention-backend" if config.attention_backend else f"the platform {platform.name}"
    backend = _load(path, origin)
    _check_dtype(backend, config.model_config.dtype)
    _check_block_size(backend, config.cache_config.block_size)
    return backend


def check_backend_fits_layer(backend: BackendClass, spec: AttentionSpec, layer_name: str) -> None:
    """Pass if the backend can compute such a layer.

    Raises:
        ConfigError: head size, sliding window or soft cap that it cannot do.
    """
    sizes = backend.supported_head_sizes
    if sizes is not None and spec.head_size not in sizes:
        known = ", ".join(map(str, sizes))
        raise _misfit(backend, f"a head size of {spec.head_size} (layer {layer_name}); it can {known}")
    if spec.sliding_window is not None and not backend.supports_sliding_window:
        raise _misfit(backend, f"a sliding window, which layer {layer_name} has ({spec.sliding_window} tokens)")
    if spec.logits_soft_cap is not None and not backend.supports_logits_soft_cap:
        raise _misfit(backend, f"a soft cap on attention scores, which layer {layer_name} has ({spec.logits_soft_cap})")


def _load(path: str, origin: str) -> BackendClass:
    module_name, _, class_name = path.replace(":", ".").rpartition(".")
    if not module_name:
        raise ConfigError(
            f"{origin} names the attention backend {path!r}.", remedy="give a dotted path: package.module.Class"
        )
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        what = f"{origin} names the attention backend {path}, but importing {module_name} failed: {error}."
        raise ConfigError(what, remedy="check the path and that its package is installed") from error
    found = vars(module).get(class_name)
    if isinstance(found, type) and issubclass(found, AttentionBackend):
        return found
    backends = [
        name for name, value in vars(module).items() if isinstance(value, type) and issubclass(value, AttentionBackend)
    ]
    what = f"{origin} names the attention backend {path}, which is no subclass of AttentionBackend."
    if found is None:
        what = f"{origin} names the attention backend {path}, but {module_name} has no {class_name}."
    raise ConfigError(
        what, remedy="name a subclass of AttentionBackend", candidates=near_names(class_name, backends) or backends
    )


def _check_dtype(backend: BackendClass, dtype: str) -> None:
    if dtype not in backend.supported_dtypes:
        raise _misfit(backend, f"dtype {dtype}; it can {', '.join(backend.supported_dtypes)}")


def _check_block_size(backend: BackendClass, block_size: int) -> None:
    if block_size % backend.block_size_multiple:
        multiple = backend.block_size_multiple
        raise _misfit(backend, f"--block-size {block_size}; it needs a multiple of {multiple}, such as {multiple}")


def _misfit(backend: BackendClass, what: str) -> ConfigError:
    name = f"{backend.__module__}.{backend.__qualname__}"
    return ConfigError(
        f"The attention backend {name} cannot do {what}.", remedy="choose another --attention-backend or setting"
    )
