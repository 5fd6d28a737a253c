"""Owns the environment variables of this plugin: which there are, what they mean, their values, and what the vendor's software is told.

Nothing else in the plugin reads the environment. No torch: `register()` reads this.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vllm.errors import ConfigError, near_names
from vllm.logger import init_logger

__all__ = ["BACKENDS", "BLOCK_TOKENS", "CPU_BACKENDS", "TABLE", "Settings", "Variable", "prepare_vendor_environment"]

logger = init_logger(__name__)

BLOCK_TOKENS = 64
"""Tokens per cache block: the card's stick of 128 bytes is 64 values of 16 bits."""
BACKENDS = ("sendnn", "inductor", "eager", "checked")
CPU_BACKENDS = BACKENDS[1:]


def _backend(text: str) -> str:
    if text not in BACKENDS:
        raise ValueError(f"one of {', '.join(BACKENDS)}")
    return text


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ValueError("a whole number of at least 1")
    return int(text)


def _steps(text: str) -> int:
    if not text.isdecimal():
        raise ValueError("a whole number of at least 0")
    return int(text)


def _blocks(text: str) -> int:
    if not text.isdecimal() or int(text) < BLOCK_TOKENS or int(text) % BLOCK_TOKENS:
        raise ValueError(f"a multiple of {BLOCK_TOKENS} tokens, the size of a cache block")
    return int(text)


def _flag(text: str) -> bool:
    if text not in ("0", "1"):
        raise ValueError("0 or 1")
    return text == "1"


def _ascending(parse: Callable[[str], int]) -> Callable[[str], tuple[int, ...]]:
    def parse_list(text: str) -> tuple[int, ...]:
        return tuple(sorted({parse(part.strip()) for part in text.split(",")}))

    return parse_list


@dataclass(frozen=True, kw_only=True, slots=True)
class Variable:
    """One variable: the `Settings` field it fills, how its text is read, its default as text (None: the field stays None), its meaning."""

    name: str
    field: str
    parse: Callable[[str], Any]
    default: str | None
    doc: str

    def value(self, environ: Mapping[str, str]) -> Any:
        """Raises ConfigError for a text that means nothing."""
        text = environ.get(self.name, "").strip() or self.default
        if text is None:
            return None
        try:
            return self.parse(text)
        except ValueError as error:
            raise ConfigError(
                f"The environment variable {self.name} is {text!r}, but it must be {error}.",
                remedy=f"correct it, or unset it (then it is {self.default or 'derived from the configuration'})",
                candidates=near_names(text, BACKENDS) if self.field == "backend" else (),
            ) from None


TABLE = (
    Variable(name="VLLM_SPYRE_DYNAMO_BACKEND", field="backend", parse=_backend, default="sendnn",
        doc="torch.compile backend: sendnn (the card), inductor, eager or checked (a CPU)"),
    Variable(name="VLLM_SPYRE_WARMUP_BATCH_SIZES", field="batch_sizes", parse=_ascending(_count), default=None,
        doc="decode batch sizes to compile, as a comma list; else 1, 2, 4 … max_num_seqs"),
    Variable(name="VLLM_SPYRE_WARMUP_CONTEXT_LENS", field="context_lens", parse=_ascending(_blocks), default=None,
        doc="context lengths to compile, as a comma list of multiples of 64; else 256, 512 … max_model_len"),
    Variable(name="VLLM_SPYRE_WARMUP_CHUNK_LENS", field="chunk_lens", parse=_ascending(_blocks), default=None,
        doc="shorter chunks to compile besides VLLM_DT_CHUNK_LEN, for the ends of prompts, as a comma list of multiples of 64"),
    Variable(name="VLLM_SPYRE_CP_INTERLEAVE_STEPS", field="interleave_steps", parse=_steps, default="1",
        doc="decode steps between two prompt chunks while requests decode; 0 = prompts first"),
    Variable(name="VLLM_SPYRE_GROUP_DECODES", field="groups_decodes", parse=_flag, default="1",
        doc="1: decode rows of very different lengths take turns where that wastes less; 0: all rows in every step"),
    Variable(name="VLLM_SPYRE_CHECK_REPORT", field="check_report", parse=Path, default=None,
        doc="file that the backend checked writes its report to at shutdown, as JSON"),
    Variable(name="VLLM_SPYRE_NUM_CPUS", field="num_cpus", parse=_count, default=None,
        doc="host threads of all ranks together; else what torch takes"),
    Variable(name="VLLM_DT_CHUNK_LEN", field="chunk_tokens", parse=_blocks, default="512",
        doc="tokens of a prompt chunk, a multiple of 64"),
    Variable(name="VLLM_DT_MAX_BATCH_SIZE", field="max_batch_size", parse=_count, default=None,
        doc="most requests that run at once; else 32 on the card and 4 on a CPU, where each shape takes seconds to compile"),
    Variable(name="VLLM_DT_MAX_CONTEXT_LEN", field="max_context_tokens", parse=_blocks, default="32768",
        doc="longest context the card is compiled for, a multiple of 64"),
    Variable(name="VLLM_DT_MAX_BATCH_TKV_LIMIT", field="max_batch_context_tokens", parse=_blocks, default="131072",
        doc="budget for rows × context of a decode step, in tokens"),
)  # fmt: skip
"""What is read; README.md shows the same table, and a test compares them."""

WITHOUT_EFFECT = {
    "VLLM_SPYRE_USE_CB": "continuous batching is the only mode",
    "VLLM_SPYRE_USE_CHUNKED_PREFILL": "prompts are always computed in chunks",
    "VLLM_SPYRE_WARMUP_PROMPT_LENS": "it belongs to pooling models, which come later; prompts run in chunks of VLLM_DT_CHUNK_LEN",
    "VLLM_SPYRE_WARMUP_NEW_TOKENS": "there is no static batching; contexts come from VLLM_SPYRE_WARMUP_CONTEXT_LENS",
    "VLLM_SPYRE_RM_PADDED_BLOCKS": "padding is laid out anew in every step",
}
"""Variables that users of the card may still have set → why they do nothing here."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """The variables' values. Fields: see TABLE."""

    backend: str
    batch_sizes: tuple[int, ...] | None
    context_lens: tuple[int, ...] | None
    chunk_lens: tuple[int, ...] | None
    interleave_steps: int
    groups_decodes: bool
    check_report: Path | None
    num_cpus: int | None
    chunk_tokens: int
    max_batch_size: int | None
    max_context_tokens: int
    max_batch_context_tokens: int

    @classmethod
    def read(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """The settings of `environ`; without one, of this process's environment as its user made it.

        Raises:
            ConfigError: a value that means nothing, or values that contradict each other.
        """
        source = _users_environment() if environ is None else environ
        settings = cls(**{variable.field: variable.value(source) for variable in TABLE})
        if settings.max_batch_context_tokens < settings.max_context_tokens:
            raise ConfigError(
                f"VLLM_DT_MAX_BATCH_TKV_LIMIT is {settings.max_batch_context_tokens}, less than VLLM_DT_MAX_CONTEXT_LEN "
                f"{settings.max_context_tokens}: one request of full length would not fit.",
                remedy="raise the first or lower the second",
            )
        return settings

    @property
    def runs_on_card(self) -> bool:
        """Whether the vendor's software is needed."""
        return self.backend == "sendnn"

    @property
    def most_rows(self) -> int:
        """Requests that may run at once."""
        return self.max_batch_size or (self.batch_sizes or (32 if self.runs_on_card else 4,))[-1]


def warn_of_variables(environ: Mapping[str, str] = os.environ) -> None:
    """Say which variables in sight do nothing here, and why."""
    known = [variable.name for variable in TABLE]
    for name in sorted(environ):
        if name in WITHOUT_EFFECT:
            logger.warning_once("%s has no effect: %s.", name, WITHOUT_EFFECT[name])
        elif name.startswith("VLLM_SPYRE_") and name not in known:
            logger.warning_once("%s is unknown and has no effect. Near: %s.", name, ", ".join(near_names(name, known)))
        elif name.startswith("SENDNN_INFERENCE_"):
            own = name.replace("SENDNN_INFERENCE_", "VLLM_SPYRE_", 1)
            logger.warning_once("%s has no effect: this plugin reads VLLM_SPYRE_* (such as %s).", name, own)


_replaced: dict[str, str | None] = {}
"""Variables that `prepare_vendor_environment` has written → what stood there, which is what a next engine must read."""


def _users_environment() -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if name not in _replaced}
    return own | {name: value for name, value in _replaced.items() if value is not None}


def prepare_vendor_environment(settings: Settings, *, max_num_seqs: int, max_model_len: int) -> None:
    """Tell the card's compiler the engine's limits. It reads them when it is imported, so this comes before.

    Names and the least batch of 2: the deployment notes of vllm-spyre and aiu-fms-testing-utils.
    """
    limits = {
        "VLLM_DT_MAX_CONTEXT_LEN": -(-max_model_len // BLOCK_TOKENS) * BLOCK_TOKENS,
        "VLLM_DT_MAX_BATCH_SIZE": max(2, max_num_seqs),
        "VLLM_DT_MAX_BATCH_TKV_LIMIT": settings.max_batch_context_tokens,
        "VLLM_DT_CHUNK_LEN": settings.chunk_tokens,
    }
    for name, value in limits.items():
        _replaced.setdefault(name, os.environ.get(name))
        os.environ[name] = str(value)
    for name, text in _VENDOR_DEFAULTS.items():
        os.environ.setdefault(name, text)


_VENDOR_DEFAULTS = {
    "FLEX_OVERWRITE_NMB_FRAME": "true",
    "COMPILATION_MODE": "offline_decoder",
    "FLEX_COMPUTE": "SENTIENT",
    "FLEX_DEVICE": "VFIO",
}
"""Set where the user has not."""
