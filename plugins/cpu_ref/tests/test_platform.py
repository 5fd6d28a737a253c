"""The platform's answers, and the promise that the plugin stays small."""

from __future__ import annotations

import ast
import io
import subprocess
import sys
import tokenize
from pathlib import Path

import psutil
import pytest
import torch

import vllm_cpu_ref
from vllm.config import ModelConfig, ParallelConfig, VllmConfig
from vllm.platforms import Feature, Platform
from vllm.plugins.dotted import load_dotted
from vllm_cpu_ref.platform import DEFAULT_KV_CACHE_BYTES, CpuRefPlatform

MODEL = ModelConfig(model="m", served_model_name="m", tokenizer="m")
CONFIG = VllmConfig(model_config=MODEL)
GIB = 2**30


def lines_of_code(path: Path) -> int:
    """Lines that hold a token which is neither a comment nor a docstring."""
    source = path.read_text()
    docstrings = {
        line
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    blank = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    lines = {line for t in tokens if t.type not in blank for line in range(t.start[0], t.end[0] + 1)}
    return len(lines - docstrings)


def test_what_an_author_reads_first_is_under_200_lines_of_code() -> None:
    """All of it but the kernels, which are a room of their own: without them it runs too."""
    files = list(Path(vllm_cpu_ref.__file__).parent.glob("*.py"))
    assert {path.name for path in files} >= {"__init__.py", "platform.py", "attention.py"}
    assert sum(map(lines_of_code, files)) < 200


def test_register_gives_a_platform_class_without_importing_torch() -> None:
    assert issubclass(load_dotted(vllm_cpu_ref.register()), Platform)
    code = "import sys, vllm_cpu_ref, vllm_cpu_ref.platform; vllm_cpu_ref.register(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_it_yields_to_accelerators_and_says_why_features_are_missing() -> None:
    assert CpuRefPlatform.is_fallback
    capabilities = CpuRefPlatform().capabilities()
    assert capabilities[Feature.TENSOR_PARALLEL].is_usable
    assert all(capability.why for capability in capabilities.values() if not capability.is_usable)


def test_memory_is_the_machines() -> None:
    free, total = CpuRefPlatform().memory_info()
    assert total == psutil.virtual_memory().total
    assert 0 < free <= total


def free_bytes(monkeypatch: pytest.MonkeyPatch, free: int) -> CpuRefPlatform:
    monkeypatch.setattr(CpuRefPlatform, "memory_info", lambda self, device_id=0: (free, 64 * GIB))
    monkeypatch.delenv("VLLM_CPU_KVCACHE_SPACE", raising=False)
    return CpuRefPlatform()


def test_the_default_cache_is_modest(monkeypatch: pytest.MonkeyPatch) -> None:
    platform = free_bytes(monkeypatch, 50 * GIB)
    assert platform.default_kv_cache_bytes(CONFIG, 40 * GIB) == DEFAULT_KV_CACHE_BYTES
    assert platform.default_kv_cache_bytes(CONFIG, 1 * GIB) == 1 * GIB
    assert free_bytes(monkeypatch, 5 * GIB).default_kv_cache_bytes(CONFIG, 4 * GIB) == 2 * GIB


def test_ranks_share_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    two = VllmConfig(model_config=MODEL, parallel_config=ParallelConfig(tensor_parallel_size=2))
    assert free_bytes(monkeypatch, 5 * GIB).default_kv_cache_bytes(two, 4 * GIB) == 1 * GIB


def test_the_users_cache_size_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    platform = free_bytes(monkeypatch, 5 * GIB)
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "7")
    assert platform.default_kv_cache_bytes(CONFIG, 4 * GIB) == 7 * GIB


def test_worker_threads_are_the_ranks_share_of_the_cores_unless_the_user_set_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = torch.get_num_threads()
    platform = CpuRefPlatform()
    try:
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        platform.init_worker_process(CONFIG, 0)
        assert torch.get_num_threads() == platform.device_count()
        monkeypatch.setenv("OMP_NUM_THREADS", "1")
        torch.set_num_threads(1)
        platform.init_worker_process(CONFIG, 0)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
