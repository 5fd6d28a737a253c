"""The Worker contract: one device's process, from set-up to the last step.

Public methods are final: they validate, time and add context to errors, and call the inner method of the same name with a leading
underscore, which a plugin implements. Most plugins subclass `vllm.worker.torch_worker.TorchWorker` and implement none of it.

An executor calls `WorkerBase.<method>` as a function object (`executor.call(WorkerBase.load_model)`): nothing is called by string name.
"""

from __future__ import annotations

import abc
import time
from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar, final

import numpy as np

from vllm.errors import (
    ConfigError,
    DeviceError,
    OutOfMemoryError,
    StepFailedError,
    VllmError,
    WorkerError,
    in_a_sentence,
    near_names,
)
from vllm.logger import init_logger
from vllm.platforms.selection import load_platform

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vllm.config import VllmConfig
    from vllm.messages import Int32Array, StepOutput, StepPlan
    from vllm.worker.kv_cache_spec import KVCacheConfig, KVCacheGroup

__all__ = ["SLEEP_TAGS", "WorkerBase"]

logger = init_logger(__name__)
T = TypeVar("T")
SLEEP_TAGS = ("weights", "kv_cache")
"""What falls asleep, and can be woken one by one."""


class WorkerBase(abc.ABC):
    """One rank.

    Life: init_device → load_model → kv_cache_groups → determine_available_memory → initialize_kv_cache → warm_up → steps → shutdown.

    Every call comes from one thread of the worker's process and may block it.
    """

    def __init__(self, config: VllmConfig, *, rank: int, local_rank: int, init_method: str) -> None:
        """Keep the arguments; touch no device.

        The process is ready (`vllm.executor.worker_factory`): the platform has loaded its backend and kernels and called
        `init_worker_process`, general plugins have run.

        Args:
            config: the whole configuration, frozen.
            rank: 0 … world_size-1.
            local_rank: index of the device on this machine.
            init_method: torch.distributed URL where the ranks meet ("tcp://…" or "file://…"); unused with one rank.
        """
        self.config = config
        self.rank = rank
        self.local_rank = local_rank
        self.init_method = init_method
        self.seconds_of: dict[str, float] = {}
        """Duration of each set-up stage."""
        self._undone: str | None = None
        """What failed, since when no plan has started anew."""

    # -- public, final --------------------------------------------------------------------------------------------------------

    @final
    def init_device(self) -> None:
        """Choose the device, join the other ranks."""
        with self._stage("init_device"):
            self._init_device()

    @final
    def load_model(self) -> None:
        """Build the model and read its weights."""
        with self._stage("load_model"):
            self._load_model()

    @final
    def kv_cache_groups(self) -> tuple[KVCacheGroup, ...]:
        """The caches that the loaded model needs on this rank; at least one group."""
        with self._stage("kv_cache_groups"):
            groups = self._kv_cache_groups()
        if not groups:
            raise WorkerError(
                f"{type(self).__name__}._kv_cache_groups returned no group; the scheduler needs at least one."
            )
        return groups

    @final
    def determine_available_memory(self) -> int:
        """Run the largest step once and say how many bytes are left for the KV cache under `memory_utilization` (may be ≤ 0)."""
        with self._stage("determine_available_memory"):
            return int(self._determine_available_memory())

    @final
    def initialize_kv_cache(self, kv_cache_config: KVCacheConfig) -> None:
        """Allocate the cache. Called once."""
        with self._stage("initialize_kv_cache"):
            self._initialize_kv_cache(kv_cache_config)

    @final
    def warm_up(self) -> None:
        """Compile or capture what the steps will need; after it no step compiles."""
        with self._stage("warm_up"):
            self._warm_up()

    @final
    def execute(self, plan: StepPlan) -> None:
        """Apply the plan's deltas and launch the forward pass. May return before the device is done; `sample` waits.

        Exactly one `sample` follows each `execute` that did not raise, before the next `execute`. After an OutOfMemoryError or a
        StepFailedError of either, plans are refused until one starts anew: what was planned behind a failed step builds on it.

        Raises:
            StepFailedError: the step raised, and the platform says that this cost the step alone (`Platform.survives`).
        """
        if plan.starts_anew:
            self._undone = None
        elif self._undone is not None:
            raise StepFailedError(f"Step {plan.step} was planned behind a step that failed: {self._undone}")
        with self._failing_alone("A step"):
            self._execute(plan)

    @final
    def sample(self, grammar_mask_GW: Int32Array | None = None) -> StepOutput:
        """Sample the rows of the last `execute` that yield a token, and wait for the tokens.

        Args:
            grammar_mask_GW: allowed-token bits, int32 [len(plan.grammar_rows_G), ceil(vocab / 32)], row order of
                `plan.grammar_rows_G`; bit t of word w allows token 32 w + t. None if the plan has no grammar rows.
        """
        with self._failing_alone("Sampling a step's tokens"):
            output = self._sample(grammar_mask_GW)
        assert int(np.sum(output.counts_N)) == len(output.token_ids_M), "StepOutput: counts and tokens disagree"
        return output

    @final
    def sleep(self, level: int) -> None:
        """Free memory until `wake_up`: level 1 keeps the weights on the host, level 2 discards them. The KV cache is lost.

        Only where no request runs. Asleep already, it changes nothing. Raises ConfigError for another level.
        """
        if level not in (1, 2):
            raise ConfigError(
                f"There is no sleep level {level!r}.", remedy="1 keeps the weights on the host, 2 discards them"
            )
        with self._stage("sleep"):
            self._sleep(level)

    @final
    def wake_up(self, tags: tuple[str, ...] = ()) -> None:
        """Undo `sleep` for these of `SLEEP_TAGS`; none means all. What is awake stays as it is. Raises ConfigError for another tag.

        Weights that were discarded are read again.
        """
        for tag in tags:
            if tag not in SLEEP_TAGS:
                raise ConfigError(
                    f"Nothing that sleeps is called {tag!r}.",
                    remedy=f"name some of {', '.join(SLEEP_TAGS)}, or none for all",
                    candidates=near_names(tag, SLEEP_TAGS),
                )
        with self._stage("wake_up"):
            self._wake_up(tags or SLEEP_TAGS)

    @final
    def apply_model(self, function: Callable[[Any], T]) -> T:
        """`function(model)` on this rank; the result must be picklable when workers are processes."""
        return function(self._model())

    @final
    def check_health(self) -> None:
        """Raise if the device cannot go on."""
        self._check_health()

    @final
    def shutdown(self) -> None:
        """Leave the process groups and free the device. Called once, also after errors."""
        self._shutdown()

    # -- inner, mandatory -----------------------------------------------------------------------------------------------------

    @abc.abstractmethod
    def _init_device(self) -> None: ...

    @abc.abstractmethod
    def _load_model(self) -> None: ...

    @abc.abstractmethod
    def _kv_cache_groups(self) -> tuple[KVCacheGroup, ...]: ...

    @abc.abstractmethod
    def _determine_available_memory(self) -> int: ...

    @abc.abstractmethod
    def _initialize_kv_cache(self, kv_cache_config: KVCacheConfig) -> None: ...

    @abc.abstractmethod
    def _execute(self, plan: StepPlan) -> None: ...

    @abc.abstractmethod
    def _sample(self, grammar_mask_GW: Int32Array | None) -> StepOutput: ...

    @abc.abstractmethod
    def _model(self) -> Any: ...

    # -- inner, with defaults -------------------------------------------------------------------------------------------------

    def _warm_up(self) -> None:
        """Nothing to compile."""

    def _sleep(self, level: int) -> None:
        raise NotImplementedError(f"{type(self).__name__} declares no sleep mode")

    def _wake_up(self, tags: tuple[str, ...]) -> None:
        raise NotImplementedError(f"{type(self).__name__} declares no sleep mode")

    def _check_health(self) -> None:
        """A device that answers calls is healthy."""

    def _shutdown(self) -> None:
        """Nothing to free."""

    @contextmanager
    def _failing_alone(self, what: str) -> Iterator[None]:
        """An error of a step becomes a StepFailedError where nothing but the step is lost; others pass.

        The text holds no numbers of the step: the same error is known again by it.
        """
        try:
            yield
        except OutOfMemoryError as error:
            self._undone = in_a_sentence(error)
            raise
        except Exception as error:
            if not self._survives(error):
                raise
            self._undone = in_a_sentence(error)
            raise StepFailedError(f"{what} failed: {self._undone}") from error

    def _survives(self, error: Exception) -> bool:
        """Never with several ranks: one that raised leaves the others inside a collective."""
        if self.config.parallel_config.world_size > 1 or isinstance(error, (MemoryError, DeviceError)):
            return False
        platform = load_platform(self.config.platform)
        return platform.survives(error) and platform.device_fault(error) is None

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        """Time a set-up stage; an error that is not ours gets rank and stage."""
        start_s = time.perf_counter()
        try:
            yield
        except VllmError:
            raise
        except Exception as error:
            raise WorkerError(f"Worker {self.rank} failed in {name}: {type(error).__name__}: {error}") from error
        finally:
            self.seconds_of[name] = time.perf_counter() - start_s
            logger.debug("Worker %d: %s took %.3f s", self.rank, name, self.seconds_of[name])
