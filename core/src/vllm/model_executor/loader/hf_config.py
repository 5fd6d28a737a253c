"""Owns reading a checkpoint's config.json and generation_config.json, and what follows from them: context length, dtype, end tokens.

No torch and no transformers here: the options are checked before anything heavy is imported.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vllm.errors import ConfigError, ModelLoadError, near_names
from vllm.logger import init_logger
from vllm.model_executor.loader.rope_config import read_rope_config

__all__ = ["derive_max_model_len", "eos_token_ids", "load_generation_config", "load_hf_config", "resolve_dtype"]

logger = init_logger(__name__)

HfOverrides = Mapping[str, Any] | Callable[[dict[str, Any]], Mapping[str, Any]]

_TEXT_PARTS = ("text_config", "llm_config", "language_config")
_INHERITED_BY_TEXT = (
    "architectures", "dtype", "torch_dtype", "quantization_config", "tie_word_embeddings",
    "bos_token_id", "eos_token_id", "pad_token_id",
)  # fmt: skip
_LENGTH_KEYS = (
    "max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "max_sequence_length", "max_seq_length",
    "max_target_positions", "model_max_length",
)  # fmt: skip
_FALLBACK_MODEL_LEN = 2048
_DTYPE_ALIASES = {"half": "float16", "float": "float32", "fp16": "float16", "fp32": "float32", "bf16": "bfloat16"}
_DTYPES = ("bfloat16", "float16", "float32")
_ROPE_TYPE_KEYS = frozenset(("rope_type", "type"))
_SCALED_BY_FACTOR = ("linear", "dynamic", "yarn")


# -- reading ------------------------------------------------------------------------------------------------------------------


def load_hf_config(folder: str | Path, hf_overrides: HfOverrides | None = None) -> dict[str, Any]:
    """The checkpoint's config as a dict: overrides applied, and of a composite config the text part.

    Args:
        folder: the model's folder.
        hf_overrides: nested dict merged over config.json, or a function from the dict to the wanted one.

    Raises:
        ModelLoadError: no such folder, no readable config.json in it, or one that names no architecture.
    """
    path = _config_path(Path(folder))
    overrides = hf_overrides or {}
    if isinstance(overrides, Mapping):
        config = _text_part(_merged(_read_json(path), overrides))
        config = _merged(config, {key: value for key, value in overrides.items() if key not in _TEXT_PARTS})
        config = _with_rope_type(config, overrides)
        config = _with_rope_theta(config, overrides)
    else:
        config = _text_part(_made_by(overrides, _read_json(path)))
    _check_architectures(config, path)
    return config


def load_generation_config(folder: str | Path) -> dict[str, Any]:
    """The model's generation_config.json, {} where it has none."""
    path = Path(folder) / "generation_config.json"
    return _read_json(path) if path.is_file() else {}


def eos_token_ids(hf_config: Mapping[str, Any], generation_config: Mapping[str, Any]) -> tuple[int, ...]:
    """Every id that ends a text: of the generation config and of the config, without repeats, in that order.

    Raises:
        ConfigError: an entry that is no id and no list of ids.
    """
    found = [*_as_ids(generation_config, "generation config"), *_as_ids(hf_config, "config")]
    return tuple(dict.fromkeys(found))


def _as_ids(config: Mapping[str, Any], name: str) -> tuple[int, ...]:
    value = config.get("eos_token_id")
    ids = [] if value is None else value if isinstance(value, list | tuple) else [value]
    if all(isinstance(each, int) and not isinstance(each, bool) for each in ids):
        return tuple(ids)
    option = "--hf-overrides" if name == "config" else "--override-generation-config"
    raise ConfigError(
        f"The model's {name} has eos_token_id {value!r}; a token id or a list of ids is needed.",
        remedy=f"correct the file, or give the id: {option}.eos_token_id N",
    )


def _config_path(folder: Path) -> Path:
    if not folder.is_dir():
        raise _no_folder(folder)
    path = folder / "config.json"
    if not path.is_file():
        raise _no_config(folder)
    return path


def _no_folder(folder: Path) -> ModelLoadError:
    if folder.exists():
        what, cause = f"The model path {folder} is a file; a folder is needed.", "a single weight file was given"
        return ModelLoadError(
            what, cause=cause, remedy="give the folder that holds config.json and the *.safetensors files"
        )
    beside = [str(path) for path in folder.parent.iterdir() if path.is_dir()] if folder.parent.is_dir() else []
    return ModelLoadError(
        f"There is no model folder {folder}.",
        cause="a mistyped path, or the name of a model on a hub: models are read from local folders",
        remedy="check the path, or download the model first and give its folder",
        candidates=near_names(str(folder), beside),
    )


def _no_config(folder: Path) -> ModelLoadError:
    names = sorted(path.name for path in folder.iterdir())
    cause = "the folder holds no model in the format of Transformers"
    if "params.json" in names:
        cause = "the folder holds a model in Mistral's own format (params.json)"
    elif any(name.endswith(".gguf") for name in names):
        cause = "the folder holds a GGUF file, which this core does not read"
    shown = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
    what = f"The model folder {folder} has no config.json. It holds: {shown or 'nothing'}."
    return ModelLoadError(
        what, cause=cause, remedy="give the folder that holds config.json and the *.safetensors files"
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelLoadError(
            f"{path} cannot be read: {error.strerror}.", remedy="check the file's permissions"
        ) from error
    except (ValueError, RecursionError) as error:
        what = f"{path} is no valid JSON: {error}."
        raise ModelLoadError(what, cause="an incomplete download", remedy="fetch the file again") from error
    if not isinstance(content, dict):
        raise ModelLoadError(
            f"{path} holds a {type(content).__name__} where a JSON object is needed.", remedy="fetch the file again"
        )
    return content


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`changes` over `base`, mapping by mapping; neither argument is changed."""
    result = dict(base)
    for key, value in changes.items():
        old = result.get(key)
        result[key] = _merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return result


def _made_by(overrides: Callable[[dict[str, Any]], Mapping[str, Any]], config: dict[str, Any]) -> dict[str, Any]:
    made: object = overrides(config)  # whatever the user wrote it to return
    if isinstance(made, Mapping):
        return dict(made)
    what = f"The function given as hf_overrides returned {made!r} instead of the config."
    raise ConfigError(what, remedy="let it return the dictionary, also where it changes the one it was given")


def _with_rope_type(config: dict[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Both `rope_type` and `type` name the type: an override of one would lose against the checkpoint's other."""
    given = overrides.get("rope_scaling")
    if not isinstance(given, Mapping) or not _ROPE_TYPE_KEYS & given.keys():
        return config
    stale = _ROPE_TYPE_KEYS - given.keys()
    kept = {key: value for key, value in config["rope_scaling"].items() if key not in stale}
    return {**config, "rope_scaling": kept}


def _with_rope_theta(config: dict[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """An override of the old key `rope_theta` would lose against the one inside `rope_parameters`: put it there too."""
    if "rope_theta" not in overrides or not isinstance(config.get("rope_parameters"), Mapping):
        return config
    return _merged(config, {"rope_parameters": {"rope_theta": overrides["rope_theta"]}})


def _text_part(config: Mapping[str, Any]) -> dict[str, Any]:
    for name in _TEXT_PARTS:
        text = config.get(name)
        if isinstance(text, Mapping):
            inherited = {key: config[key] for key in _INHERITED_BY_TEXT if config.get(key) is not None}
            architectures = {"architectures": inherited["architectures"]} if "architectures" in inherited else {}
            return {**inherited, **text, **architectures}
    return dict(config)


def _check_architectures(config: Mapping[str, Any], path: Path) -> None:
    named = config.get("architectures")
    if isinstance(named, Sequence) and not isinstance(named, str) and named:
        return
    what = f"{path} names no architecture: architectures is {named!r}, model_type is {config.get('model_type')!r}."
    remedy = """name it: --hf-overrides '{"architectures": ["LlamaForCausalLM"]}'"""
    raise ModelLoadError(what, cause="the config was written without the model class", remedy=remedy)


# -- what follows -------------------------------------------------------------------------------------------------------------


def derive_max_model_len(hf_config: Mapping[str, Any]) -> int:
    """The longest context that the checkpoint was made for, in tokens, with its rotary scaling.

    Types "linear" and "dynamic" stretch `max_position_embeddings` by their factor, "yarn" its original length; "llama3" and
    "longrope" give the stretched length as `max_position_embeddings` itself.
    """
    lengths_tokens = [_length(key, hf_config[key]) for key in _LENGTH_KEYS if hf_config.get(key) is not None]
    if not lengths_tokens:
        logger.warning(
            "The model's config gives no context length (looked for %s): %d tokens are assumed; --max-model-len overrides.",
            ", ".join(_LENGTH_KEYS), _FALLBACK_MODEL_LEN,
        )  # fmt: skip
        return _FALLBACK_MODEL_LEN
    rope = read_rope_config(hf_config)
    if rope.rope_type not in _SCALED_BY_FACTOR:
        return min(lengths_tokens)
    unscaled_tokens = rope.original_max_position if rope.rope_type == "yarn" else min(lengths_tokens)
    return int(unscaled_tokens * rope.factor)


def _length(key: str, value: Any) -> int:
    if isinstance(value, (int, float)) and value >= 1:
        return int(value)
    what = f"The model's config has {key} {value!r}; a number of tokens is needed."
    raise ConfigError(what, remedy=f"correct config.json, or give it: --hf-overrides.{key} N")


def resolve_dtype(hf_config: Mapping[str, Any], requested: str, supported: Iterable[str]) -> str:
    """The dtype to run in: "bfloat16", "float16" or "float32".

    Args:
        requested: "auto" or a dtype ("half", "float" and the like are understood). "auto" takes the checkpoint's, with bfloat16 for
            float32, and where the platform lacks that the platform's best, with a warning.
        supported: the platform's dtypes, best first.

    Raises:
        ConfigError: an unknown dtype, or one that the platform lacks.
    """
    supported = tuple(supported)
    if requested == "auto":
        return _auto_dtype(_checkpoint_dtype(hf_config), supported)
    dtype = _plain_dtype(requested)
    if dtype not in _DTYPES:
        what = f"--dtype {requested} is not known; known are auto, half, float, {', '.join(_DTYPES)}."
        raise ConfigError(what, remedy="choose one of these", candidates=near_names(requested, _DTYPES))
    if dtype not in supported:
        what = f"--dtype {requested} asks for {dtype}, which the platform does not support; it supports {', '.join(supported)}."
        raise ConfigError(what, remedy=f"use --dtype auto or --dtype {supported[0]}")
    return dtype


def _auto_dtype(checkpoint_dtype: str, supported: tuple[str, ...]) -> str:
    wanted = "bfloat16" if checkpoint_dtype == "float32" else checkpoint_dtype
    if wanted in supported:
        return wanted
    logger.warning("The platform has no %s, which the model would run in: %s is used instead.", wanted, supported[0])
    return supported[0]


def _checkpoint_dtype(hf_config: Mapping[str, Any]) -> str:
    return _plain_dtype(str(hf_config.get("dtype") or hf_config.get("torch_dtype") or "float32"))


def _plain_dtype(name: str) -> str:
    name = name.removeprefix("torch.")
    return _DTYPE_ALIASES.get(name, name)
