"""Owns the engine's options: names, limits, defaults and help, all in one place. No torch, no numpy.

`EngineArgs(…)`, `LLM(…)`, the flags of every command and YAML files are read through these definitions. None as a default
means "decided from the model, the platform or another option" by `create_engine_config`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from vllm.config.absent_options import refuse_absent
from vllm.config.option_kinds import SWITCH, choice, dotted, mapping, one_of_kinds, real, several, text, whole
from vllm.config.options import canonical_names, option, options_of, read_options, refuse_unknown

if TYPE_CHECKING:
    from typing_extensions import Self

    from vllm.config.vllm import VllmConfig

__all__ = ["AsyncEngineArgs", "EngineArgs"]

_MODEL, _LOAD, _CACHE, _SCHEDULER = "ModelConfig", "LoadConfig", "CacheConfig", "SchedulerConfig"
_PARALLEL, _COMPILATION, _OBSERVABILITY, _ENGINE = (
    "ParallelConfig",
    "CompilationConfig",
    "ObservabilityConfig",
    "VllmConfig",
)

_MODEL_LEN = one_of_kinds(
    'a whole number >= 1 (2k = 2000 and 2K = 2048), or "auto" (or -1) for the longest that fits the KV cache',
    choice("auto", others={"-1": "auto"}),
    whole(at_least=1, human=True),
    placeholder="N|auto",
)
_DTYPE_NAMES = choice("auto", "float16", "bfloat16", "float32", others={"half": "float16", "float": "float32"})
_DTYPES = replace(_DTYPE_NAMES, parse=lambda value: _DTYPE_NAMES.parse(str(value).removeprefix("torch.")))
"""`torch.float32` itself will do."""
_SEEDS = whole(at_least=0, at_most=2**63 - 1)
_LOGPROBS_MODES = choice("raw_logprobs", "processed_logprobs", "raw_logits", "processed_logits")
_EXECUTOR = one_of_kinds(
    "one of uni, mp, ray, external_launcher, or the dotted path of an ExecutorBase subclass",
    choice("uni", "mp", "ray", "external_launcher"),
    dotted(),
    placeholder="{uni,mp}|PATH",
)


@dataclass
class EngineArgs:
    """What users may say about an engine. `create_engine_config()` turns it into the configuration, checked and complete."""

    # -- the model ------------------------------------------------------------------------------------------------------------
    model: str | None = option(
        None,
        text("the folder of a checkpoint, or a name in the local Hugging Face cache", "MODEL"),
        "Folder of a checkpoint in Hugging Face format, or the name of one that lies in the local Hugging Face cache.",
        group=_MODEL,
        common=True,
        default_words="the tiny model inside this package",
    )
    tokenizer: str | None = option(
        None,
        text(placeholder="FOLDER"),
        "Folder or cached name of the tokenizer.",
        group=_MODEL,
        default_words="the model's",
    )
    tokenizer_mode: str = option(
        "auto",
        choice("auto", "hf", "slow"),
        "How the tokenizer is loaded: auto = without Transformers where possible, hf = by Transformers, slow = in Python.",
        group=_MODEL,
    )
    skip_tokenizer_init: bool = option(
        False, SWITCH, "Work on token ids alone: prompts must be ids, outputs carry no text.", group=_MODEL
    )
    trust_remote_code: bool = option(
        False, SWITCH, "Allow Python code that comes with the checkpoint to run.", group=_MODEL
    )
    dtype: str = option(
        "auto", _DTYPES, "Type of weights and activations; auto takes the checkpoint's.", group=_MODEL, common=True
    )
    max_model_len: int | str | None = option(
        None,
        _MODEL_LEN,
        "Most tokens of one sequence, prompt and output together.",
        group=_MODEL,
        common=True,
        default_words="what the model was made for",
    )
    seed: int = option(
        0,
        replace(_SEEDS, parse=lambda value: 0 if value is None else _SEEDS.parse(value)),
        "Seed of dummy weights and of requests that give none.",
        group=_MODEL,
        common=True,
    )
    revision: str | None = option(
        None,
        text(),
        "Branch, tag or commit of a model in the local Hugging Face cache.",
        group=_MODEL,
        default_words="main",
    )
    tokenizer_revision: str | None = option(
        None, text(), "The same for the tokenizer.", group=_MODEL, default_words="--revision"
    )
    hf_overrides: dict[str, Any] | Callable[[dict[str, Any]], Mapping[str, Any]] | None = option(
        None, mapping(function_too=True), "Entries that replace those of the checkpoint's config.json.", group=_MODEL
    )
    served_model_name: tuple[str, ...] | None = option(
        None,
        several(text(), "one or more names"),
        "Names under which the model is served.",
        group=_MODEL,
        default_words="--model",
    )
    max_logprobs: int = option(
        20,
        whole(at_least=-1),
        "Most log-probabilities per token that a request may ask for; -1 = the vocabulary.",
        group=_MODEL,
    )
    logprobs_mode: str = option(
        "raw_logprobs", _LOGPROBS_MODES, "What is reported: before or after penalties and temperature.", group=_MODEL
    )
    generation_config: str = option(
        "auto",
        text('"auto", "vllm" or a folder', "auto|vllm|FOLDER"),
        "Source of default sampling parameters: auto = the model's generation_config.json, vllm = none, or another folder.",
        group=_MODEL,
    )
    override_generation_config: dict[str, Any] | None = option(
        None, mapping(), "Entries that replace those of the generation config.", group=_MODEL
    )
    chat_template: str | None = option(
        None,
        text("a file or a Jinja template", "FILE|TEMPLATE"),
        "Chat template.",
        group=_MODEL,
        default_words="the tokenizer's",
    )
    enforce_eager: bool = option(False, SWITCH, "Never capture or compile the forward pass.", group=_MODEL, common=True)
    quantization: str | None = option(
        None, text(), "Quantisation method of the weights.", group=_MODEL, short="-q", default_words="the checkpoint's"
    )
    enable_sleep_mode: bool = option(
        False, SWITCH, "Allow sleep() and wake_up(), where the platform can.", group=_MODEL
    )
    logits_processors: tuple[Any, ...] | None = option(
        None,
        several(dotted(keeps_class=True), "classes or dotted paths"),
        "Custom logits processors: classes or dotted paths.",
        group=_MODEL,
    )

    # -- loading --------------------------------------------------------------------------------------------------------------
    load_format: str = option(
        "auto",
        choice("auto", "safetensors", "dummy"),
        "Where weights come from; dummy = random ones, only the config is read.",
        group=_LOAD,
        common=True,
    )
    download_dir: str | None = option(
        None, text(placeholder="FOLDER"), "Folder in which cached models are looked up first.", group=_LOAD
    )
    use_tqdm_on_load: bool = option(True, SWITCH, "Show a progress bar while weights are loaded.", group=_LOAD)

    # -- the KV cache ---------------------------------------------------------------------------------------------------------
    block_size: int | None = option(
        None, whole(at_least=1), "Tokens per KV-cache block.", group=_CACHE, default_words="the platform's"
    )
    gpu_memory_utilization: float = option(
        0.9,
        real(above=0, at_most=1),
        "Share of the device's memory that the engine may use.",
        group=_CACHE,
        aliases=("device_memory_utilization",),
        common=True,
    )
    kv_cache_memory_bytes: int | None = option(
        None,
        whole(at_least=1, human=True),
        "Exact size of the KV cache per device; replaces --gpu-memory-utilization.",
        group=_CACHE,
        common=True,
    )
    num_gpu_blocks_override: int | None = option(
        None, whole(at_least=1), "Exact number of KV-cache blocks, instead of what memory allows.", group=_CACHE
    )
    kv_cache_dtype: str = option(
        "auto",
        choice("auto", "float16", "bfloat16", "float32", "fp8", "fp8_e4m3", "fp8_e5m2"),
        "Type of keys and values; auto = the model's.",
        group=_CACHE,
    )
    enable_prefix_caching: bool | None = option(
        None,
        SWITCH,
        "Reuse the KV cache of equal prompt beginnings.",
        group=_CACHE,
        common=True,
        default_words="on where possible",
    )
    prefix_caching_hash_algo: str = option(
        "sha256",
        choice("sha256", "xxhash", others={"sha256_cbor": "sha256", "xxhash_cbor": "xxhash"}),
        "Hash by which equal blocks are found.",
        group=_CACHE,
    )
    watermark: float = option(
        0.0,
        real(above=0, at_most=1, or_equal=True),
        "Share of the blocks that stays free when a waiting request is admitted.",
        group=_CACHE,
    )

    # -- scheduling -----------------------------------------------------------------------------------------------------------
    max_num_seqs: int | None = option(
        None, whole(at_least=1), "Most requests that run at once.", group=_SCHEDULER, common=True, default_words="256"
    )
    max_num_batched_tokens: int | None = option(
        None,
        whole(at_least=1, human=True),
        "Most tokens computed in one step.",
        group=_SCHEDULER,
        common=True,
        default_words="2048, more where other options need it",
    )
    long_prefill_token_threshold: int = option(
        0,
        whole(at_least=0, human=True),
        "Most tokens of one prompt per step; 0 = no limit of its own.",
        group=_SCHEDULER,
    )
    enable_chunked_prefill: bool | None = option(
        None,
        SWITCH,
        "Compute long prompts in several steps.",
        group=_SCHEDULER,
        common=True,
        default_words="on where possible",
    )
    scheduling_policy: str = option(
        "fcfs",
        choice("fcfs", "priority"),
        "Order of waiting requests: by arrival, or by their priority.",
        group=_SCHEDULER,
    )
    async_scheduling: bool | None = option(
        None, SWITCH, "Plan the next step while the last one runs.", group=_SCHEDULER, default_words="off"
    )
    scheduler_cls: str | None = option(
        None, dotted(), "Another scheduler class.", group=_SCHEDULER, default_words="ours"
    )
    stream_interval: int = option(
        1, whole(at_least=1), "Tokens between two outputs of a streamed request.", group=_SCHEDULER
    )
    max_num_queued_reqs: int | None = option(
        None,
        whole(at_least=1),
        "Waiting requests past this number are refused.",
        group=_SCHEDULER,
        default_words="no limit",
    )
    max_num_queued_tokens: int | None = option(
        None,
        whole(at_least=1, human=True),
        "Requests that would bring the waiting prompts past this many tokens are refused.",
        group=_SCHEDULER,
        default_words="no limit",
    )

    # -- several devices ------------------------------------------------------------------------------------------------------
    tensor_parallel_size: int = option(
        1, whole(at_least=1), "Devices that share every layer.", group=_PARALLEL, short="-tp", common=True
    )
    pipeline_parallel_size: int = option(
        1, whole(at_least=1), "Groups of devices that hold consecutive layers.", group=_PARALLEL, short="-pp"
    )
    data_parallel_size: int = option(1, whole(at_least=1), "Copies of the whole engine.", group=_PARALLEL, short="-dp")
    distributed_executor_backend: str | None = option(
        None,
        _EXECUTOR,
        "Who runs the workers: uni = this process, mp = one process each.",
        group=_PARALLEL,
        default_words="by need",
    )
    worker_cls: str | None = option(
        None, dotted(), "Another worker class.", group=_PARALLEL, default_words="the platform's"
    )
    worker_extension_cls: str | None = option(
        None, dotted(), "Mix-in class for workers whose methods collective_rpc may call.", group=_PARALLEL
    )

    # -- the rest -------------------------------------------------------------------------------------------------------------
    compilation_config: dict[str, Any] | None = option(
        None, mapping(), "Options of captured or compiled forward passes.", group=_COMPILATION, short="-cc"
    )
    cudagraph_capture_sizes: tuple[int, ...] | None = option(
        None,
        several(whole(at_least=1), "whole numbers >= 1"),
        "Batch sizes of decode that are captured.",
        group=_COMPILATION,
        default_words="the platform's",
    )
    disable_log_stats: bool = option(False, SWITCH, "Do not log statistics.", group=_OBSERVABILITY)
    attention_backend: str | None = option(
        None, dotted(), "Dotted path of another AttentionBackend.", group=_ENGINE, default_words="the platform's"
    )
    additional_config: dict[str, Any] | None = option(
        None, mapping(), "Anything that a platform's plugin reads.", group=_ENGINE
    )

    def __post_init__(self) -> None:
        read_options(self)

    @classmethod
    def from_kwargs(cls, given: Mapping[str, Any], *, where: str = "The engine") -> Self:
        """From keywords, aliases included; `where` begins the sentence about one that does not exist.

        Raises:
            ConfigError: an unknown keyword (with near names), one whose feature is not in this release, or a wrong value.
        """
        names = canonical_names(options_of(cls).values())
        named: dict[str, Any] = {}
        for keyword, value in given.items():
            if keyword in names:
                named[names[keyword]] = value
            elif not refuse_absent(keyword, value):
                raise refuse_unknown(keyword, names, where=where)
        return cls(**named)

    def create_engine_config(self) -> VllmConfig:
        """The complete configuration for the platform of this machine; reads the checkpoint's config, no weights.

        Raises:
            ConfigError: options that contradict each other, the model or the platform; all names are in the text.
            ModelLoadError: the model folder cannot be used.
            NoPlatformError, PlatformConflictError: see `vllm.platforms.resolve_platform`.
        """
        from vllm.config.resolve import create_engine_config

        return create_engine_config(self)


AsyncEngineArgs = EngineArgs
"""The name under which vLLM's users know the options of an `AsyncLLM`."""
