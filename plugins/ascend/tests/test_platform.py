"""The platform's answers that need no NPU, and the promise that the whole plugin stays small."""

from __future__ import annotations

import ast
import io
import subprocess
import sys
import tokenize
from dataclasses import replace
from pathlib import Path

import pytest

import vllm_ascend
from vllm.config import CacheConfig, CompilationConfig, ModelConfig, SchedulerConfig, VllmConfig
from vllm.errors import ConfigError
from vllm.platforms import Feature, Platform
from vllm_ascend.platform import AscendPlatform

MODEL = ModelConfig(model="m", served_model_name="m", tokenizer="m")
CONFIG = VllmConfig(
    model_config=MODEL, cache_config=CacheConfig(block_size=128), scheduler_config=SchedulerConfig(max_num_seqs=20)
)


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


def sources() -> list[Path]:
    return list(Path(vllm_ascend.__file__).parent.rglob("*.py"))


def test_the_whole_plugin_is_under_1000_lines_of_code() -> None:
    assert {path.name for path in sources()} >= {"__init__.py", "platform.py", "attention.py", "graph.py"}
    assert sum(map(lines_of_code, sources())) < 1000


def test_product_code_knows_no_simulator_and_patches_nothing() -> None:
    for path in sources():
        text = path.read_text()
        assert "cann_sim" not in text.lower(), path
        assert "simulat" not in text.lower(), path
        assert "setattr(" not in text, path


def test_the_platforms_module_loads_no_torch() -> None:
    code = "import sys, vllm_ascend.platform; sys.exit(any(name in sys.modules for name in ('torch', 'torch_npu')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert issubclass(AscendPlatform, Platform)


def test_what_is_declined_has_a_reason() -> None:
    capabilities = AscendPlatform().capabilities()
    assert capabilities[Feature.GRAPH_CAPTURE].is_usable
    declined = {feature for feature, capability in capabilities.items() if not capability.is_usable}
    assert declined == {Feature.LOGITS_SOFT_CAP, Feature.FLOAT32, Feature.STEP_RECOVERY}
    assert all(capabilities[feature].why for feature in declined)


def test_decode_steps_are_captured_in_powers_of_two_and_the_whole_batch() -> None:
    updated = AscendPlatform().check_and_update_config(CONFIG)
    assert updated.compilation_config.capture_sizes == (1, 2, 4, 8, 16, 20)
    assert "--enforce-eager" in updated.change_reasons["compilation_config.capture_sizes"]
    assert CONFIG.compilation_config.capture_sizes == ()


@pytest.mark.parametrize(
    ("rows", "sizes"), [(1, (1,)), (2, (1, 2)), (300, (1, 2, 4, 8, 16, 32, 64, 128, 256))], ids=["one", "two", "many"]
)
def test_graph_sizes(rows: int, sizes: tuple[int, ...]) -> None:
    config = replace(CONFIG, scheduler_config=SchedulerConfig(max_num_seqs=rows))
    assert AscendPlatform().check_and_update_config(config).compilation_config.capture_sizes == sizes


def test_the_users_choice_is_left_alone() -> None:
    asked = replace(CONFIG, compilation_config=CompilationConfig(capture_sizes=(3,)))
    eager = replace(CONFIG, model_config=replace(MODEL, enforce_eager=True))
    for config in (asked, eager):
        assert AscendPlatform().check_and_update_config(config) == config


def test_the_default_cache_leaves_room_for_the_graphs() -> None:
    gib, mib = 2**30, 2**20
    three = replace(CONFIG, compilation_config=CompilationConfig(capture_sizes=(1, 2, 4)))
    eager = replace(three, model_config=replace(MODEL, enforce_eager=True))
    platform = AscendPlatform()
    assert platform.default_kv_cache_bytes(three, 10 * gib) == 10 * gib - 96 * mib
    assert platform.default_kv_cache_bytes(three, 80 * mib) == 70 * mib, "never more than an eighth"
    assert platform.default_kv_cache_bytes(eager, 10 * gib) == 10 * gib


def test_other_block_sizes_are_refused_in_words() -> None:
    with pytest.raises(ConfigError, match=r"--block-size is 256, .* blocks of 128 tokens"):
        AscendPlatform().check_and_update_config(replace(CONFIG, cache_config=CacheConfig(block_size=256)))
