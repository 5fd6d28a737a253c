"""Owns the options that vLLM's users know and this release does not have: each is refused with what it belongs to.

Better than "unknown option": the user learns that the spelling is right. Asking for nothing (None, False) is granted.
"""

from __future__ import annotations

from typing import Any

from vllm.errors import ConfigError

__all__ = ["ABSENT", "OF_THE_SERVER", "refuse_absent"]

_BY_FEATURE: dict[str, str] = {
    "LoRA adapters": """enable_lora lora_modules max_loras max_lora_rank lora_dtype max_cpu_loras fully_sharded_loras
        lora_target_modules default_mm_loras enable_tower_connector_lora specialize_active_lora""",
    "speculative decoding": "speculative_config spec_method spec_model spec_tokens",
    "pooling, embedding and scoring models": "runner convert pooler_config task override_pooler_config io_processor_plugin",
    "multimodal inputs": """limit_mm_per_prompt language_model_only mm_processor_kwargs media_io_kwargs enable_mm_embeds
        mm_processor_cache_gb mm_processor_cache_type mm_encoder_tp_mode mm_encoder_only interleave_mm_strings skip_mm_profiling
        video_pruning_rate allowed_local_media_path allowed_media_domains disable_chunked_mm_input disable_mm_preprocessor_cache""",
    "the Transformers model backend": "model_impl model_class_overrides",
    "loading weights in other ways": """model_loader_extra_config ignore_patterns pt_load_map_location config_format hf_config_path
        hf_token code_revision safetensors_load_strategy""",
    "other settings of quantised weights": "quantization_config allow_deprecated_quantization linear_backend",
    "mixture-of-experts parallelism": """enable_expert_parallel enable_eplb eplb_config expert_placement_strategy all2all_backend
        moe_backend""",
    "data parallelism": """data_parallel_rank data_parallel_start_rank data_parallel_size_local data_parallel_address
        data_parallel_rpc_port data_parallel_backend data_parallel_hybrid_lb data_parallel_external_lb""",
    "context parallelism": "decode_context_parallel_size prefill_context_parallel_size",
    "engines that span machines": "nnodes node_rank master_addr master_port ray_workers_use_nsight",
    "micro-batching": "enable_dbo dbo_decode_token_threshold dbo_prefill_token_threshold ubatch_size",
    "offloading": "kv_offloading_size kv_offloading_backend cpu_offload_gb offload_backend swap_space",
    "KV-cache transfer": "kv_transfer_config kv_events_config ec_transfer_config kv_sharing_fast_prefill",
    "KV caches of several kinds": """mamba_cache_dtype mamba_ssm_cache_dtype mamba_block_size mamba_cache_mode mamba_backend
        disable_hybrid_kv_cache_manager kv_cache_dtype_skip_layers""",
    "prompt embeddings": "enable_prompt_embeds",
    "reasoning budgets, and tools that the server itself calls": "reasoning_config tool_server",
    "choosing a structured-output library (it is llguidance)": "structured_outputs_config guided_decoding_backend",
    "profiling": """profiler_config collect_detailed_traces enable_layerwise_nvtx_tracing
        kv_cache_metrics show_hidden_metrics_for_version enable_mfu_metrics""",
    "choosing compiler levels": """optimization_level performance_mode max_cudagraph_capture_size kernel_config
        attention_config ir_op_priority""",
    "switching kernels of one vendor": "disable_custom_all_reduce disable_cascade_attn disable_sliding_window use_fp64_gumbel",
    "further admission limits": "max_num_active_seqs max_num_scheduled_tokens",
    "further logging": """aggregate_engine_logging logging_config log_level log_config_file enable_log_outputs enable_log_deltas
        log_error_stack disable_access_log_for_endpoints""",
    "servers of several processes, or without HTTP": "api_server_count headless grpc tokens_only enable_scale_out",
    "other settings of the HTTP server": """enable_ssl_refresh h11_max_incomplete_event_size h11_max_header_count enable_offline_docs
        disable_frontend_multiprocessing""",
}

_OF_THE_SERVER = """host port uds root_path ssl_keyfile ssl_certfile ssl_ca_certs ssl_cert_reqs ssl_ciphers api_key allowed_origins
    allowed_methods allowed_headers allow_credentials middleware disable_fastapi_docs chat_template_content_format
    trust_request_chat_template default_chat_template_kwargs response_role enable_auto_tool_choice tool_call_parser
    exclude_tools_when_tool_choice_none tool_parser_plugin reasoning_parser reasoning_parser_plugin
    return_tokens_as_token_ids enable_prompt_tokens_details
    enable_force_include_usage enable_request_id_headers enable_tokenizer_info_endpoint enable_log_requests max_log_len
    uvicorn_log_level disable_uvicorn_access_log enable_server_load_tracking max_request_body_bytes shutdown_timeout restart_engine
    otlp_traces_endpoint"""

OF_THE_SERVER = frozenset(_OF_THE_SERVER.split())
"""Options of `vllm serve` alone (a test compares them with ServerArgs): the engine and offline commands have none of them."""

ABSENT: dict[str, str] = {name: feature for feature, names in _BY_FEATURE.items() for name in names.split()}
"""Keyword -> what it belongs to."""

_OTHER_WAY: dict[str, str] = {
    "swap_space": "leave it out: preempted requests are recomputed, nothing is swapped",
    "structured_outputs_config": "leave it out",
    "guided_decoding_backend": "leave it out",
    "model_impl": "leave it out",
    "log_level": "set the environment variable VLLM_LOGGING_LEVEL",
    "logging_config": "set the environment variable VLLM_LOGGING_CONFIG_PATH",
    "log_config_file": "set the environment variable VLLM_LOGGING_CONFIG_PATH",
    "h11_max_incomplete_event_size": "leave it out: httptools reads the requests, not h11",
    "h11_max_header_count": "leave it out: httptools reads the requests, not h11",
    "disable_frontend_multiprocessing": "set the environment variable VLLM_ENABLE_V1_MULTIPROCESSING=0",
    "api_server_count": "leave it out: one process serves",
}

_DROPPED: dict[str, str] = {
    "disable_log_requests": "leave it out: requests are logged only with --enable-log-requests",
    "device": "leave it out: the plugin whose hardware is here is taken; VLLM_PLUGINS chooses among several",
    "enable_reasoning": "leave it out: --reasoning-parser is enough",
    "max_seq_len_to_capture": "use --cudagraph-capture-sizes, in rows of a decode step",
    "cuda_graph_sizes": "use --cudagraph-capture-sizes",
    "rope_scaling": "use --hf-overrides.rope_scaling",
    "rope_theta": "use --hf-overrides.rope_theta",
    "num_scheduler_steps": "leave it out: --async-scheduling plans a step while one runs",
    "use_v2_block_manager": "leave it out: there is one manager of blocks",
    "preemption_mode": "leave it out: preempted requests are recomputed",
    "worker_use_ray": "leave it out: workers are processes of this machine",
}
"""Options that vLLM itself has dropped, and that old scripts still give -> what to do."""


def refuse_absent(name: str, value: Any, *, show: str | None = None) -> bool:
    """Whether `name` is such an option and `value` asks for nothing; False for names that are no option of vLLM's at all.

    Raises:
        ConfigError: it asks for something that is not here.
    """
    if name not in ABSENT and name not in OF_THE_SERVER and name not in _DROPPED:
        return False
    if value is None or value is False:
        return True
    if name in _DROPPED:
        raise ConfigError(f"{show or name} was an option of older vLLM versions.", remedy=_DROPPED[name])
    if name in OF_THE_SERVER:
        raise ConfigError(
            f"{show or name} belongs to the HTTP server: only `vllm serve` has it.", remedy="leave it out"
        )
    raise ConfigError(
        f"{show or name} belongs to {ABSENT[name]}, which this release does not have.",
        remedy=_OTHER_WAY.get(name, "leave it out"),
    )
