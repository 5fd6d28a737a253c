"""Owns how the model's options and its checkpoint's config become a `ModelConfig`. Reads JSON files only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vllm import envs
from vllm.config.model import ModelConfig
from vllm.config.resolve_folder import embedded_model_folder, resolve_folder
from vllm.errors import ConfigError
from vllm.logger import init_logger
from vllm.model_executor.loader.hf_config import (
    derive_max_model_len,
    eos_token_ids,
    load_generation_config,
    load_hf_config,
    resolve_dtype,
)
from vllm.model_executor.models.registry import ModelRegistry

if TYPE_CHECKING:
    from vllm.config.engine_args import EngineArgs
    from vllm.platforms.interface import Platform

__all__ = ["resolve_model"]

logger = init_logger(__name__)

_GENERATION_KEYS = (
    "temperature", "top_k", "top_p", "min_p", "repetition_penalty", "max_new_tokens", "eos_token_id",
)  # fmt: skip
"""What is read of a generation config: `LLM.get_default_sampling_params`, and the ids that end a text."""


def resolve_model(args: EngineArgs, platform: Platform) -> ModelConfig:
    """The model's section. `max_model_len` is the user's or the checkpoint's; the platform's own limit comes later."""
    folder = _model_folder(args)
    hf_config = load_hf_config(folder, args.hf_overrides)
    architecture = ModelRegistry.first_supported(hf_config["architectures"])
    logger.info("Resolved architecture: %s", architecture)
    generation_config = _generation_config(args, folder)
    name, *aliases = args.served_model_name or (args.model or folder.name,)
    return ModelConfig(
        model=str(folder),
        served_model_name=name,
        served_model_aliases=tuple(aliases),
        tokenizer=str(_tokenizer_folder(args, folder)),
        tokenizer_mode=args.tokenizer_mode,
        skip_tokenizer_init=args.skip_tokenizer_init,
        trust_remote_code=args.trust_remote_code,
        architecture=architecture,
        hf_config=hf_config,
        dtype=resolve_dtype(hf_config, args.dtype, platform.supported_dtypes()),
        max_model_len=_max_model_len(args, hf_config),
        fits_max_model_len_to_cache=args.max_model_len == "auto",
        vocab_size=_vocab_size(hf_config, folder),
        seed=args.seed,
        quantization=args.quantization,
        enforce_eager=args.enforce_eager,
        max_logprobs=args.max_logprobs,
        logprobs_mode=args.logprobs_mode,
        generation_config=generation_config,
        eos_token_ids=eos_token_ids(hf_config, {**load_generation_config(folder), **generation_config}),
        chat_template=_chat_template(args.chat_template),
        logits_processors=args.logits_processors or (),
        enable_sleep_mode=args.enable_sleep_mode,
    )


def _model_folder(args: EngineArgs) -> Path:
    if args.model is not None:
        return resolve_folder(args.model, revision=args.revision, download_dir=args.download_dir)
    logger.info("No model is given: the tiny one inside this package is used; --model takes the folder of another.")
    return embedded_model_folder()


def _tokenizer_folder(args: EngineArgs, model_folder: Path) -> Path:
    if args.tokenizer is None:
        return model_folder
    revision = args.tokenizer_revision or args.revision
    return resolve_folder(args.tokenizer, revision=revision, download_dir=args.download_dir, what="tokenizer")


def _max_model_len(args: EngineArgs, hf_config: Mapping[str, Any]) -> int:
    derived_tokens = derive_max_model_len(hf_config)
    if args.max_model_len is None or isinstance(args.max_model_len, str):
        return derived_tokens
    if args.max_model_len > derived_tokens:
        _allow_longer(args.max_model_len, derived_tokens)
    return args.max_model_len


def _allow_longer(wanted_tokens: int, derived_tokens: int) -> None:
    told = f"max_model_len (--max-model-len) is {wanted_tokens}, but the model's config allows {derived_tokens} tokens"
    if not envs.VLLM_ALLOW_LONG_MAX_MODEL_LEN:
        raise ConfigError(
            f"{told}.",
            cause="past that length its position encoding was never trained, and outputs degrade",
            remedy="lower --max-model-len, or set VLLM_ALLOW_LONG_MAX_MODEL_LEN=1 if you know that the model can do it",
        )
    logger.warning(
        "%s; VLLM_ALLOW_LONG_MAX_MODEL_LEN=1 lets it pass. Outputs past the model's length may be nonsense.", told
    )


def _vocab_size(hf_config: Mapping[str, Any], folder: Path) -> int:
    size = hf_config.get("vocab_size")
    if isinstance(size, int) and size > 0:
        return size
    raise ConfigError(
        f"The config of {folder} has vocab_size {size!r}; a whole number > 0 is needed.",
        remedy="correct config.json, or give it: --hf-overrides.vocab_size N",
    )


def _generation_config(args: EngineArgs, folder: Path) -> dict[str, Any]:
    if args.generation_config == "vllm":
        read: dict[str, Any] = {}
    elif args.generation_config == "auto":
        read = load_generation_config(folder)
    else:
        read = load_generation_config(resolve_folder(args.generation_config, what="generation config"))
    overrides = args.override_generation_config or {}
    for key in sorted(overrides.keys() - _GENERATION_KEYS):
        logger.warning("%s in --override-generation-config has no effect; known: %s.", key, ", ".join(_GENERATION_KEYS))
    return {**read, **overrides}


def _chat_template(given: str | None) -> str | None:
    """The template's text: a file's content, or `given` itself where it is Jinja."""
    if given is None:
        return None
    path = Path(given)
    looks_like_jinja = "{" in given
    if not looks_like_jinja and path.is_file():
        return path.read_text(encoding="utf-8")
    if looks_like_jinja:
        return given
    raise ConfigError(
        f"chat_template (--chat-template) is {given!r}: there is no such file, and it is no Jinja template (it has no brace).",
        remedy="give the path of a template file, or the template itself",
    )
