"""Runs a model through the paged cache without an engine: contexts, steps of chunks, log-probabilities.

Legend: T tokens, V vocabulary, X hidden size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vllm.attention.backends.abstract import AttentionBatch
from vllm.config import CacheConfig, LoadConfig, ModelConfig, VllmConfig
from vllm.distributed.device_communicators.base_communicator import CommunicatorBase
from vllm.distributed.device_communicators.solo_communicator import SoloCommunicator
from vllm.model_executor.context import ModelContext
from vllm.model_executor.custom_op import OpSet
from vllm.model_executor.loader import build_model
from vllm.model_executor.loader.hf_config import derive_max_model_len, load_hf_config
from vllm.model_executor.models.interface import CausalLM
from vllm.testing.dense_attention import DenseAttention

BLOCK_SIZE = 16


def make_context(
    folder: str | Path,
    *,
    max_model_len: int | None = None,
    tp: CommunicatorBase | None = None,
    load_format: str = "auto",
    overrides: dict[str, Any] | None = None,
    dtype: str = "float32",
    attention: Any = None,
) -> ModelContext:
    """What the runner would hand to a model of `folder`."""
    hf_config = load_hf_config(folder, overrides)
    model_config = ModelConfig(
        model=str(folder),
        served_model_name="m",
        tokenizer=str(folder),
        architecture=hf_config["architectures"][0],
        hf_config=hf_config,
        dtype=dtype,
        max_model_len=max_model_len or derive_max_model_len(hf_config),
    )
    config = VllmConfig(
        model_config=model_config,
        cache_config=CacheConfig(block_size=BLOCK_SIZE),
        load_config=LoadConfig(load_format=load_format, use_tqdm_on_load=False),
    )
    device = torch.device("cpu")
    return ModelContext(
        config=config,
        ops=OpSet(),
        tp=tp or SoloCommunicator(device),
        attention=attention or DenseAttention(device),
        dtype=getattr(torch, dtype),
        device=device,
    )


def load(folder: str | Path, **settings: Any) -> CausalLM:
    """The model of `folder`, in fp32 unless said otherwise."""
    with torch.inference_mode():
        return build_model(make_context(folder, **settings))


@dataclass
class PagedRun:
    """A cache with shuffled blocks, and rows that are computed chunk by chunk in ragged batches."""

    model: CausalLM
    texts: Sequence[Sequence[int]]
    seed: int = 0
    computed: list[int] = field(default_factory=list)
    logits: list[list[torch.Tensor]] = field(default_factory=list)

    def __post_init__(self) -> None:
        columns = max(-(-len(text) // BLOCK_SIZE) for text in self.texts) + 4
        blocks = np.random.default_rng(self.seed).permutation(columns * len(self.texts) + 3)
        self.block_table = blocks[: columns * len(self.texts)].reshape(len(self.texts), columns).astype(np.int32)
        self.computed = [0] * len(self.texts)
        self.logits = [[] for _ in self.texts]
        self.texts = [list(text) for text in self.texts]
        self.kv_caches = [self._cache(layer.backend, layer.spec, len(blocks)) for layer in self.model.attention_layers]

    def _cache(self, backend: Any, spec: Any, num_blocks: int) -> tuple[torch.Tensor, ...]:
        shapes = backend.kv_cache_shapes(num_blocks, BLOCK_SIZE, spec.num_kv_heads, spec.head_size)
        return tuple(torch.full(shape, 1e9) for shape in shapes)  # what nobody wrote must not be read

    @torch.inference_mode()
    def step(self, chunk: int) -> None:
        """Compute up to `chunk` tokens of every row that has some left, in one batch."""
        rows = [row for row, text in enumerate(self.texts) if self.computed[row] < len(text)]
        counts = [min(chunk, len(self.texts[row]) - self.computed[row]) for row in rows]
        rows, counts = _single_tokens_first(rows, counts)
        ids = [id_ for row, n in zip(rows, counts, strict=True) for id_ in self.texts[row][self.computed[row] :][:n]]
        positions = np.concatenate(
            [np.arange(self.computed[r], self.computed[r] + n) for r, n in zip(rows, counts, strict=True)]
        )
        metadata = self.model.attention_layers[0].backend.build_metadata(self._batch(rows, counts, positions))
        hidden_TX = self.model(torch.tensor(ids), torch.tensor(positions), self.kv_caches, metadata)
        logits_by_row = self.model.compute_logits(hidden_TX).float().split(counts)
        for row, n, logits in zip(rows, counts, logits_by_row, strict=True):
            self.computed[row] += n
            self.logits[row].append(logits)

    def _batch(self, rows: list[int], counts: list[int], positions: np.ndarray) -> AttentionBatch:
        table = self.block_table[rows]
        row_of_token = np.repeat(np.arange(len(rows)), counts)
        return AttentionBatch(
            query_start_N1=np.concatenate([[0], np.cumsum(counts)]).astype(np.int32),
            seq_lens_N=np.array([self.computed[row] + n for row, n in zip(rows, counts, strict=True)], np.int32),
            block_table_NB=table,
            slot_mapping_T=table[row_of_token, positions // BLOCK_SIZE].astype(np.int64) * BLOCK_SIZE
            + positions % BLOCK_SIZE,
            num_decode_rows=sum(n == 1 for n in counts),
            block_size=BLOCK_SIZE,
        )

    def finish(self, chunk: int) -> list[torch.Tensor]:
        """Log-probabilities [T, V] of every text, computed `chunk` tokens per row and step."""
        while any(done < len(text) for done, text in zip(self.computed, self.texts, strict=True)):
            self.step(chunk)
        return [torch.cat(parts).log_softmax(-1) for parts in self.logits]

    def greedy(self, num_tokens: int, chunk: int) -> list[list[int]]:
        """The next `num_tokens` tokens of every text."""
        self.finish(chunk)
        prompts = [len(text) for text in self.texts]
        for _ in range(num_tokens):
            for text, parts in zip(self.texts, self.logits, strict=True):
                text.append(int(parts[-1][-1].argmax()))
            self.step(1)
        return [text[start:] for text, start in zip(self.texts, prompts, strict=True)]


def _single_tokens_first(rows: list[int], counts: list[int]) -> tuple[list[int], list[int]]:
    order = sorted(range(len(rows)), key=lambda i: counts[i] != 1)
    return [rows[i] for i in order], [counts[i] for i in order]
