"""The model runner: the core's, with every step compiled before the first request.

Legend: T tokens, M sampling rows, H hidden size, V vocabulary.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from vllm.logger import init_logger
from vllm.worker.torch_model_runner import TorchModelRunner
from vllm_spyre.backends import create_backend
from vllm_spyre.manifest import Manifest
from vllm_spyre.programs import Programs
from vllm_spyre.settings import Settings

if TYPE_CHECKING:
    from vllm.worker.step_inputs import StepInputs
    from vllm.worker.step_shapes import StepShape

__all__ = ["SpyreModelRunner"]

logger = init_logger(__name__)


class SpyreModelRunner(TorchModelRunner):
    """Steps of fixed shape: a chunk of one prompt, or a bucket of decode rows; each with a bucket of context."""

    def load_model(self) -> None:
        """The model, and the backend that compiles it."""
        self.compile_backend = create_backend(Settings.read().backend, self.config)
        super().load_model()
        self.programs = Programs(self.model, self.compile_backend)
        self._step_slots_N = np.empty(0, np.int32)

    @torch.inference_mode()
    def warm_up(self) -> None:
        """Compile every shape, telling how far it is and how long each took."""
        start_s = time.perf_counter()
        num_blocks = len(self.kv_caches[0][0])
        shapes, manifest = self.step_shapes(), Manifest(self.config, self.compile_backend.name, num_blocks)
        known = [shape for shape in shapes if str(shape) in manifest.known]
        logger.info(
            "Warm-up with backend %s: %d shapes%s", self.compile_backend.name, len(shapes), _spared(known, manifest)
        )
        seconds_of = {}
        for number, shape in enumerate(shapes, 1):
            seconds_of[str(shape)] = self._compile(shape)
            origin = "compiled before" if shape in known else "new"
            logger.info(
                "Warm-up %d/%d: %s took %.2f s (%s)", number, len(shapes), shape, seconds_of[str(shape)], origin
            )
            if self.compile_backend.keeps_programs:
                manifest.write(seconds_of)  # now, since a start may be broken off
        self.compile_backend.after_warm_up()
        logger.info("Warm-up took %.1f s; from now on nothing is compiled", time.perf_counter() - start_s)

    def _compile(self, shape: StepShape) -> float:
        """Seconds."""
        start_s = time.perf_counter()
        hidden_TH = self.programs.compile_step(shape, *self._arguments(self.dummy_inputs(shape)))
        if shape.is_decode and not self.programs.has_head(shape.rows):
            self.programs.compile_head(hidden_TH.clone())
        return time.perf_counter() - start_s

    def run_model(self, inputs: StepInputs) -> torch.Tensor:
        """The compiled step of the inputs' shape."""
        if self.compile_backend.at_step is not None:
            self.compile_backend.at_step(inputs)
        self._step_slots_N = inputs.slots_N
        return self.programs.step(inputs.shape, self._request_ids, *self._arguments(inputs))

    def compute_logits(self, hidden_MH: torch.Tensor) -> torch.Tensor:
        """The compiled head, over as many rows as it was compiled for."""
        rows = self.constraints.bucket_rows(len(hidden_MH))
        padded_NH = hidden_MH.new_zeros(rows, hidden_MH.shape[1])
        padded_NH[: len(hidden_MH)] = hidden_MH
        return self.programs.head(padded_NH, self._request_ids)[: len(hidden_MH)]

    def _arguments(self, inputs: StepInputs) -> tuple[Any, ...]:
        return inputs.input_ids_T, inputs.positions_T, self.kv_caches, inputs.metadata

    def _request_ids(self) -> list[str]:
        """Of the step that runs; asked for only by an error."""
        return [self.batch.request_id_S[slot] for slot in self._step_slots_N.tolist()]


def _spared(known: list[StepShape], manifest: Manifest) -> str:
    if not known:
        return ""
    first_s = sum(manifest.known[str(shape)] for shape in known)
    return f", {len(known)} of them compiled before, which took {first_s:.1f} s then"
