"""Laws of the contract: every declared method is there and answers in the declared type, and the answers fit each other."""

from __future__ import annotations

import copy
import dataclasses
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

import torch

from vllm.attention.backends.abstract import AttentionBackend
from vllm.config import VllmConfig
from vllm.config.engine_args import EngineArgs
from vllm.config.resolve import create_engine_config
from vllm.distributed.device_communicators.base_communicator import CommunicatorBase
from vllm.errors import ConfigError
from vllm.model_executor.custom_op import OpSet, native_ops
from vllm.platforms.capabilities import Capability, Feature, Support
from vllm.platforms.constraints import SchedulingConstraints
from vllm.platforms.interface import Platform
from vllm.plugins.dotted import load_dotted, load_subclass
from vllm.testing.bench import Bench
from vllm.testing.law import law
from vllm.testing.signatures import complaints_about
from vllm.testing.tolerances import TOLERANCES
from vllm.worker.captured_forward import CapturedForward
from vllm.worker.model_runner_base import ModelRunnerBase
from vllm.worker.worker_base import WorkerBase


@law(per_dtype=False)
def the_platform_fills_its_contract(bench: Bench) -> None:
    """Nothing abstract is left, every override can be called as the contract says, and the class attributes are set."""
    cls = type(bench.platform)
    complaints = complaints_about(cls, Platform)
    bench.holds(not complaints, "; ".join(complaints))
    for name in ("name", "device_type", "dist_backend"):
        value = getattr(cls, name, None)
        bench.holds(isinstance(value, str) and value, f"{cls.__qualname__}.{name} is {value!r}, not a name")
    bench.holds(isinstance(cls.is_fallback, bool), f"{cls.__qualname__}.is_fallback is {cls.is_fallback!r}")
    variable = cls.device_control_env_var
    bench.holds(variable is None or isinstance(variable, str), f"device_control_env_var is {variable!r}")


@law(per_dtype=False)
def answers_have_their_types(bench: Bench) -> None:
    """Methods without a law of their own answer in the declared type."""
    platform = bench.platform
    for method, wanted in _typed_answers(platform).items():
        answer = method()
        bench.holds(
            type(answer) in wanted,
            f"{method.__name__}() gave {answer!r}, expected {' or '.join(kind.__name__ for kind in wanted)}",
        )
    bench.holds(platform.get_device_name(), "get_device_name() is empty")
    bench.holds(platform.usage_label(), "usage_label() is empty")
    bench.holds(platform.device_count() >= 1, f"device_count() is {platform.device_count()} on a usable platform")
    report = platform.doctor()
    bench.holds(
        isinstance(report, Mapping) and all(isinstance(key, str) for key in report),
        f"doctor() gave {report!r}, expected a mapping from what was looked for to what was found",
    )


def _typed_answers(platform: Platform) -> dict[Callable[[], Any], tuple[type, ...]]:
    nothing = type(None)
    return {
        platform.get_device_name: (str,),
        platform.usage_label: (str,),
        platform.device_count: (int,),
        platform.is_pin_memory_available: (bool,),
        platform.get_attn_backend_cls: (str,),
        platform.get_worker_cls: (str,),
        platform.get_model_runner_cls: (str,),
        platform.get_communicator_cls: (str,),
        platform.get_captured_forward_cls: (str, nothing),
        platform.supported_quantization: (tuple, nothing),
        platform.peak_memory_bytes: (int, nothing),
        platform.reset_peak_memory: (nothing,),
        platform.synchronize: (nothing,),
        platform.empty_cache: (nothing,),
    }


@law(per_dtype=False)
def its_module_needs_no_torch(bench: Bench) -> None:
    """Neither importing the platform's module nor doctor() loads torch, so that every command that asks plugins stays fast."""
    path = bench.workplace.platform_path
    command = [sys.executable, "-c", _ASK_WITHOUT_TORCH, path, *sys.path]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    bench.holds(done.returncode == 0, f"loading {path} in a process of its own failed: {done.stderr[-800:]}")
    bench.equal("what imported torch, which belongs into the methods that need it", done.stdout.split(), [])


_ASK_WITHOUT_TORCH = """
import sys
path, sys.path[:] = sys.argv[1], sys.argv[2:]
from vllm.plugins.dotted import load_dotted
platform_cls = load_dotted(path)
if "torch" in sys.modules:
    print("import")
else:
    platform_cls().doctor()
    print("doctor()" if "torch" in sys.modules else "")
"""


@law(per_dtype=False)
def dtypes_are_declared(bench: Bench) -> None:
    """supported_dtypes names at least one of float32, bfloat16, float16, none twice, nothing else; float32 is left out with a reason."""
    names = bench.platform.supported_dtypes()
    bench.holds(isinstance(names, tuple) and names, f"supported_dtypes() is {names!r}, expected a tuple of names")
    bench.holds(len(set(names)) == len(names), f"supported_dtypes() names one twice: {names}")
    bench.equal("dtypes that no model runs in", sorted(set(names) - TOLERANCES.keys()), [])
    float32 = bench.platform.capability(Feature.FLOAT32)
    if "float32" in names:
        answered = float32.is_usable or float32.support is Support.UNKNOWN
        bench.holds(answered, f"supported_dtypes() names float32, and capabilities() declines it: {float32}")
    else:
        why = "in which laws are sharpest: decline Feature.FLOAT32, with the reason, in capabilities()"
        bench.holds(float32.why and not float32.is_usable, f"supported_dtypes() leaves float32 out, {why}")


@law()
def the_dtype_works(bench: Bench) -> None:
    """Tensors of the dtype can be made, moved both ways and multiplied on the device, and the attention backend takes them."""
    host = torch.randn(8, 8, generator=torch.Generator().manual_seed(0)).to(bench.dtype)
    there = host.to(bench.device)
    bench.equal("device", there.device.type, bench.platform.device_type)
    bench.holds(torch.equal(there.cpu(), host), "a tensor that went to the device and back is another one")
    product = there @ there
    bench.platform.synchronize()
    wanted = host.float() @ host.float()
    bench.close("product of two 8 × 8 matrices", product, wanted, bench.tolerance.op * 2, relative=True)
    backend = load_subclass(bench.platform.get_attn_backend_cls(), AttentionBackend, option="get_attn_backend_cls()")
    dtypes = backend.supported_dtypes
    bench.holds(
        bench.dtype_name in dtypes, f"{backend.__qualname__}.supported_dtypes is {dtypes}, without {bench.dtype_name}"
    )


# -- capabilities and constraints


@law(per_dtype=False)
def capabilities_are_answers(bench: Bench) -> None:
    """capabilities maps features to answers, declines with a reason, and capability(feature) agrees with it."""
    declared = bench.platform.capabilities()
    bench.holds(isinstance(declared, Mapping), f"capabilities() gave {declared!r}, expected a mapping")
    for feature, answer in declared.items():
        bench.holds(isinstance(feature, Feature), f"capabilities() has the key {feature!r}, which is no Feature")
        bench.holds(isinstance(answer, Capability), f"capabilities()[{feature}] is {answer!r}, which is no Capability")
    for feature in Feature:
        expected = declared.get(feature, Capability.unknown())
        bench.equal(f"capability({feature})", bench.platform.capability(feature), expected)


@law(per_dtype=False)
def capabilities_fit_the_classes(bench: Bench) -> None:
    """What is declared agrees with what the classes can: windows, soft caps, graph capture."""
    platform = bench.platform
    backend = load_subclass(platform.get_attn_backend_cls(), AttentionBackend, option="get_attn_backend_cls()")
    windows = platform.capability(Feature.SLIDING_WINDOW).is_usable
    bench.equal(f"sliding windows: capability, {backend.__qualname__}", windows, backend.supports_sliding_window)
    caps = platform.capability(Feature.LOGITS_SOFT_CAP).is_usable
    bench.equal(f"soft caps: capability, {backend.__qualname__}", caps, backend.supports_logits_soft_cap)
    captures = platform.capability(Feature.GRAPH_CAPTURE).is_usable
    bench.equal("graph capture: capability, class", captures, platform.get_captured_forward_cls() is not None)


@law(per_dtype=False)
def what_it_declines_is_refused(bench: Bench) -> None:
    """An option that asks for a declined feature is refused while the configuration is made, in words, before weights are loaded."""
    asks: dict[Feature, dict[str, Any]] = {
        Feature.CHUNKED_PREFILL: {"enable_chunked_prefill": True},
        Feature.PREFIX_CACHING: {"enable_prefix_caching": True},
        Feature.TENSOR_PARALLEL: {"tensor_parallel_size": 2},
        Feature.GRAPH_CAPTURE: {"cudagraph_capture_sizes": (1, 2)},
        Feature.ASYNC_SCHEDULING: {"async_scheduling": True},
        Feature.SLEEP_MODE: {"enable_sleep_mode": True},
        Feature.QUANTIZATION: {"quantization": "int8_per_channel_weight_only"},
    }
    declared = bench.platform.capabilities()
    for feature, options in asks.items():
        capability = declared.get(feature, Capability.unknown())
        if capability.is_usable:
            continue
        try:
            bench.workplace.config(**options)
        except ConfigError as error:
            bench.holds(capability.why in str(error), f"{options} is refused without the reason: {error}")
        else:
            bench.holds(False, f"{options} is accepted, but {feature.words} is declined: {capability}")


@law(per_dtype=False)
def constraints_are_consistent(bench: Bench) -> None:
    """Buckets grow, sizes are positive, and block sizes, chunks, buckets and the attention backend fit each other."""
    config = bench.workplace.config()
    limits = bench.platform.scheduling_constraints(config)
    bench.holds(isinstance(limits, SchedulingConstraints), f"scheduling_constraints() gave {limits!r}")
    for name in ("decode_batch_buckets", "token_buckets", "context_buckets"):
        buckets = getattr(limits, name)
        growing = isinstance(buckets, tuple) and list(buckets) == sorted(set(buckets)) and all(b >= 1 for b in buckets)
        bench.holds(growing, f"{name} is {buckets!r}, expected a tuple of growing whole numbers >= 1")
    for name in _POSITIVE:
        value = getattr(limits, name)
        bench.holds(value is None or value >= 1, f"{name} is {value!r}, expected at least 1")
    bench.holds(limits.padding_side in ("left", "right"), f"padding_side is {limits.padding_side!r}")
    _check_block_sizes(bench, limits)
    _check_contexts(bench, limits, config.cache_config.block_size, config.model_config.max_model_len)
    chunk, buckets = limits.prefill_chunk_tokens, limits.token_buckets
    bench.holds(
        not chunk or not buckets or chunk <= buckets[-1], f"a chunk of {chunk} tokens fits no bucket of {buckets}"
    )


_POSITIVE = (
    "block_size_multiple",
    "default_block_size",
    "max_concurrent_prefills",
    "prefill_chunk_tokens",
    "max_batch_context_tokens",
    "decode_step_cost_tokens",
    "max_model_len",
)


def _check_contexts(bench: Bench, limits: SchedulingConstraints, block_size: int, max_model_len: int) -> None:
    buckets = limits.context_buckets
    broken = [bucket for bucket in buckets if bucket % block_size]
    bench.holds(not broken, f"context_buckets {broken} are no multiples of the block size {block_size}")
    holds = not buckets or buckets[-1] >= max_model_len
    bench.holds(holds, f"context_buckets ends at {buckets[-1:]}, but contexts grow to {max_model_len} tokens")
    budget = limits.max_batch_context_tokens
    one_fits = budget is None or not buckets or limits.bucket_rows(1) * buckets[-1] <= budget
    bench.holds(one_fits, f"one row of the longest context, {buckets[-1:]}, is past max_batch_context_tokens {budget}")


def _check_block_sizes(bench: Bench, limits: SchedulingConstraints) -> None:
    backend = load_subclass(bench.platform.get_attn_backend_cls(), AttentionBackend, option="get_attn_backend_cls()")
    size = limits.default_block_size
    for name, multiple in (
        ("block_size_multiple", limits.block_size_multiple),
        (f"{backend.__qualname__}.block_size_multiple", backend.block_size_multiple),
    ):
        bench.holds(size % multiple == 0, f"default_block_size {size} is no multiple of {name} {multiple}")


@law(per_dtype=False)
def the_configuration_settles(bench: Bench) -> None:
    """check_and_update_config gives a VllmConfig, changes no argument, and finds nothing to change in its own result."""
    watched = _watched(type(bench.platform))
    first = create_engine_config(EngineArgs.from_kwargs({"max_model_len": 512}), watched())
    second = watched().check_and_update_config(first)
    bench.holds(isinstance(second, VllmConfig), f"check_and_update_config gave {second!r}")
    bench.holds(not watched.changed_arguments, "check_and_update_config changed its argument")
    changed = [
        field.name
        for field in dataclasses.fields(VllmConfig)
        if field.name != "change_reasons" and getattr(first, field.name) != getattr(second, field.name)
    ]
    bench.equal("sections that a second call changes again", changed, [])


def _watched(cls: type[Platform]) -> Any:
    """The platform's class, noting whether a configuration is written into: also at the first look, after which all is settled."""

    class Watched(cls):  # type: ignore[valid-type,misc]
        changed_arguments = 0

        def check_and_update_config(self, config: VllmConfig) -> VllmConfig:
            before = copy.deepcopy(config)  # whole: sections and the mappings in them are shared otherwise
            answer: VllmConfig = super().check_and_update_config(config)
            Watched.changed_arguments += config != before
            return answer

    return Watched


@law(per_dtype=False)
def other_errors_are_not_the_devices(bench: Bench) -> None:
    """device_fault leaves errors of ordinary code, and memory that ran out, to the core: only errors of the device get other words."""
    others = (
        ValueError("expected 4 heads, got 3"),
        RuntimeError("The size of tensor a (3) must match the size of tensor b (4) at non-singleton dimension 0"),
        IndexError("index 5 is out of bounds for dimension 0 with size 5"),
        torch.OutOfMemoryError("Tried to allocate 20.00 GiB"),
    )
    for error in others:
        bench.equal(f"device_fault({error!r})", bench.platform.device_fault(error), None)


# -- the classes


@law(per_dtype=False)
def classes_fill_their_contracts(bench: Bench) -> None:
    """Worker, runner, communicator, attention backend and captured forward load, subclass their contracts, and leave nothing abstract."""
    platform = bench.platform
    paths: list[tuple[str | None, type]] = [
        (platform.get_worker_cls(), WorkerBase),
        (platform.get_model_runner_cls(), ModelRunnerBase),
        (platform.get_communicator_cls(), CommunicatorBase),
        (platform.get_attn_backend_cls(), AttentionBackend),
        (platform.get_captured_forward_cls(), CapturedForward),
    ]
    for path, contract in paths:
        if path is None:
            continue
        cls = load_dotted(path)
        fits = isinstance(cls, type) and issubclass(cls, contract)
        bench.holds(fits, f"{path} is {cls!r}, which is no subclass of {contract.__qualname__}")
        complaints = complaints_about(cls, contract)
        bench.holds(not complaints, f"{path}: " + "; ".join(complaints))


@law(per_dtype=False)
def ops_are_replaced_by_subclasses(bench: Bench) -> None:
    """op_overrides maps names of the core's ops to subclasses of the native ops, with `forward_native` left alone."""
    overrides = bench.platform.op_overrides()
    bench.holds(isinstance(overrides, Mapping), f"op_overrides() gave {overrides!r}, expected a mapping")
    ops = OpSet(overrides)
    for name in overrides:
        native = native_ops()[name]
        kept = ops.cls(name).forward_native is native.forward_native
        bench.holds(kept, f"{overrides[name]} replaces forward_native, which is the oracle; override forward")


@law(per_dtype=False)
def seeds_repeat(bench: Bench) -> None:
    """random_seed makes the device's own generator repeat itself."""
    drawn = []
    for seed in (1, 1, 2):
        bench.platform.random_seed(seed)
        drawn.append(torch.randn(64, device=bench.device).cpu())
    bench.holds(torch.equal(drawn[0], drawn[1]), "random_seed(1) twice gave different numbers")
    bench.holds(not torch.equal(drawn[0], drawn[2]), "random_seed(1) and random_seed(2) gave the same numbers")
