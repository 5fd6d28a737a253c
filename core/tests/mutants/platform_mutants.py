"""The mutants whose platform says something wrong: memory, dtypes, capabilities, constraints, the configuration, errors."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from core.tests.mutants.mutant import Mutant
from core.tests.sleeping_platform import SleepingPlatform
from vllm.platforms import Capability, DeviceFault, Feature, SchedulingConstraints

if TYPE_CHECKING:
    from vllm.config import VllmConfig


class WrongPath(Mutant):
    """The attention backend's path leads nowhere."""

    caught_by = ("contract.classes_fill_their_contracts",)
    attention = "attention_parts.NobodyWroteIt"


class NotABackend(Mutant):
    """The attention backend's path leads to a class of another contract."""

    caught_by = ("contract.classes_fill_their_contracts",)
    attention = "op_parts.NoBias"


class OldSignature(Mutant):
    """A method takes other arguments than the contract says."""

    caught_by = ("contract.the_platform_fills_its_contract",)

    def set_device(self) -> None:  # type: ignore[override]
        pass


class CountsInWords(Mutant):
    """device_count answers with a text."""

    caught_by = ("contract.answers_have_their_types",)

    def device_count(self) -> int:
        return "2"  # type: ignore[return-value]


class DoctorWithTorch(Mutant):
    """doctor loads torch, which makes every command that asks plugins slow."""

    caught_by = ("contract.its_module_needs_no_torch",)

    def doctor(self) -> Mapping[str, Any]:
        import torch

        return {"torch": torch.__version__}


class EightBits(Mutant):
    """A dtype is declared in which no model runs."""

    caught_by = ("contract.dtypes_are_declared",)

    def supported_dtypes(self) -> tuple[str, ...]:
        return (*super().supported_dtypes(), "float8_e4m3fn")


class TwoAnswers(Mutant):
    """capability() says yes to what capabilities() declines."""

    caught_by = ("contract.capabilities_are_answers", "contract.what_it_declines_is_refused")

    def capabilities(self) -> Mapping[Feature, Capability]:
        declined = Capability.unsupported("the chip has one lane")
        return {**super().capabilities(), Feature.PREFIX_CACHING: declined}

    def capability(self, feature: Feature) -> Capability:
        return Capability.full()


class NoReason(Mutant):
    """A feature is declined without a reason."""

    caught_by = ("contract.capabilities_are_answers",)

    def capabilities(self) -> Mapping[Feature, Capability]:
        return {**super().capabilities(), Feature.SLIDING_WINDOW: Capability.unsupported("")}


class SilentOnWindows(Mutant):
    """Nothing is said about sliding windows, which is no excuse."""

    caught_by = ("attention.sliding_window",)

    def capabilities(self) -> Mapping[Feature, Capability]:
        return {f: answer for f, answer in super().capabilities().items() if f is not Feature.SLIDING_WINDOW}


class CapturesNothing(Mutant):
    """Graph capture is claimed, and no class does it."""

    caught_by = ("contract.capabilities_fit_the_classes",)

    def capabilities(self) -> Mapping[Feature, Capability]:
        return {**super().capabilities(), Feature.GRAPH_CAPTURE: Capability.full()}


class SleepsAwake(Mutant, SleepingPlatform):
    """Sleep mode is claimed, and the worker cannot."""

    caught_by = ("generation.sleeping_changes_nothing", "memory.sleep_frees_the_cache")
    sound = SleepingPlatform
    worker = "runner_parts.SleeplessWorker"


class LosesWeights(Mutant, SleepingPlatform):
    """The weights are as large as before when they wake up, and empty."""

    caught_by = ("generation.sleeping_changes_nothing",)
    sound = SleepingPlatform
    worker = "runner_parts.LosesWeights"


class LosesWeightsDeepAsleep(Mutant, SleepingPlatform):
    """Weights that were discarded are not read again."""

    caught_by = ("generation.sleeping_changes_nothing",)
    sound = SleepingPlatform
    worker = "runner_parts.LosesWeightsDeepAsleep"


class KeepsItsCache(Mutant, SleepingPlatform):
    """Sleep frees the weights, and not the cache."""

    caught_by = ("memory.sleep_frees_the_cache",)
    sound = SleepingPlatform
    runner = "runner_parts.KeepsItsCache"


class HurtByErrors(Mutant):
    """Claims that a step may raise and cost nothing else, where it takes the weights with it."""

    caught_by = ("generation.a_failed_step_costs_its_request",)
    runner = "runner_parts.HurtByErrors"


class ShrinkingBuckets(Mutant):
    """Buckets stand in the wrong order."""

    caught_by = ("contract.constraints_are_consistent",)

    def scheduling_constraints(self, config: VllmConfig) -> SchedulingConstraints:
        return SchedulingConstraints(decode_batch_buckets=(8, 4, 256))


class NeverSettles(Mutant):
    """Every look at the configuration makes the model's longest context one shorter."""

    caught_by = ("contract.the_configuration_settles",)

    def check_and_update_config(self, config: VllmConfig) -> VllmConfig:
        model = dataclasses.replace(config.model_config, max_model_len=config.model_config.max_model_len - 1)
        return dataclasses.replace(config, model_config=model)


class WritesIntoTheConfiguration(Mutant):
    """The configuration that is passed is written into, and looks settled from then on."""

    caught_by = ("contract.the_configuration_settles",)

    def check_and_update_config(self, config: VllmConfig) -> VllmConfig:
        config.additional_config["lanes"] = 8
        return config


class BlamesTheDevice(Mutant):
    """Every RuntimeError counts as a failure of the device, wrong shapes included."""

    caught_by = ("contract.other_errors_are_not_the_devices",)

    def device_fault(self, error: Exception) -> DeviceFault | None:
        return DeviceFault(what="the CPU failed") if isinstance(error, RuntimeError) else None


class IgnoresTheDevicesSeed(Mutant):
    """random_seed does nothing."""

    caught_by = ("contract.seeds_repeat",)

    def random_seed(self, seed: int) -> None:
        pass
