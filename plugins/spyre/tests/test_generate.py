"""What a user types: `vllm generate` gives cpu_ref's tokens under each backend, with the promised lines in the log."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vllm_spyre.checked.rules import rule_book

PROMPT = "Count: 17 18 19"
EXPECTED = "Count: 17 18 19 20 21 22 23 24 25 26 27"
"""What cpu_ref says."""
PROMISED = (
    "Available plugins for group vllm.platform_plugins:",
    "name=spyre, value=vllm_spyre:register",
    "plugin spyre loaded.",
    "Platform plugin spyre is activated",
    "from now on nothing is compiled",
)
FEW_SHAPES = {
    "VLLM_DT_CHUNK_LEN": "64",
    "VLLM_DT_MAX_BATCH_SIZE": "1",
    "TORCHINDUCTOR_CPP_CACHE_PRECOMPILE_HEADERS": "0",
}


def generate(cache: Path, dtype: str = "float32", **variables: str) -> subprocess.CompletedProcess[str]:
    options = ["--dtype", dtype, "--max-model-len", "64"]
    command = [sys.executable, "-m", "vllm.entrypoints.cli.main", "generate", PROMPT, *options]
    environ = {**os.environ, "OMP_NUM_THREADS": "1", "VLLM_CACHE_ROOT": str(cache), **FEW_SHAPES, **variables}
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=600, check=False)


def test_on_cpu_ref(tmp_path: Path) -> None:
    answer = generate(tmp_path, VLLM_PLATFORM="cpu_ref")
    assert answer.stdout.strip() == EXPECTED, answer.stderr


@pytest.mark.parametrize("backend", ["eager", "inductor"])
def test_on_spyre(backend: str, tmp_path: Path) -> None:
    answer = generate(tmp_path, VLLM_PLATFORM="spyre", VLLM_SPYRE_DYNAMO_BACKEND=backend)
    assert answer.stdout.strip() == EXPECTED, answer.stderr
    for line in PROMISED:
        assert line in answer.stderr
    assert f"Warm-up with backend {backend}: 2 shapes" in answer.stderr
    assert "Warm-up 1/2: prefill chunk of 64 tokens with 64 tokens of context took" in answer.stderr
    assert "Warm-up 2/2: decode of 1 row with 64 tokens of context took" in answer.stderr
    assert len(list((tmp_path / "spyre").glob("shapes-*.json"))) == (backend == "inductor")


def test_on_spyre_checked_with_a_report(tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.json"
    answer = generate(
        tmp_path, VLLM_PLATFORM="spyre", VLLM_SPYRE_DYNAMO_BACKEND="checked", VLLM_SPYRE_CHECK_REPORT=str(path)
    )
    assert answer.stdout.strip() == EXPECTED, answer.stderr
    for line in (*PROMISED, "Warm-up with backend checked: 2 shapes", "3 at warm-up, 0 after it", "none of 9"):
        assert line in answer.stderr
    report = json.loads(path.read_text(encoding="utf-8"))
    assert report["compilations"] == {"warm_up": 3, "serving": 0}
    assert report["violations"] == dict.fromkeys(rule_book().rules, 0)
    assert report["operators"]["aten.index_copy"] == {"count": 16, "origin": "guess"}
    assert report["operators"]["aten.mm"]["origin"] == "card"
    assert report["steps"] == {
        "prefill chunk of 64 tokens with 64 tokens of context": 1,
        "decode of 1 row with 64 tokens of context": 15,
    }
    prompt, decodes = 11, 15
    assert report["tokens"] == {
        "useful": prompt + decodes,
        "computed": 64 + decodes,
        "useful_context": sum(range(prompt + 1, prompt + decodes + 1)),
        "computed_context": decodes * 64,
    }


def test_the_card_without_its_software(tmp_path: Path) -> None:
    answer = generate(tmp_path, VLLM_PLATFORM="spyre", VLLM_SPYRE_DYNAMO_BACKEND="sendnn")
    assert answer.returncode != 0
    assert "torch_sendnn, the card's compiler, is not installed" in answer.stderr
    assert "inductor, eager or checked" in answer.stderr


VENDOR = """
import os, sys
import torch._dynamo

print("torch_sendnn is told", *(os.environ[name] for name in ("VLLM_DT_MAX_BATCH_SIZE", "VLLM_DT_CHUNK_LEN")), file=sys.stderr)

@torch._dynamo.register_backend(name="sendnn")
def sendnn(graph, inputs):
    assert all(isinstance(size, int) for each in inputs for size in each.shape), "a dynamic shape"
    return graph.forward
"""
"""What stands for the vendor's package here: registers its backend when it is imported, and reads its limits then."""


def test_with_the_cards_software_steps_go_through_its_compiler_in_fp16(tmp_path: Path) -> None:
    (tmp_path / "torch_sendnn.py").write_text(VENDOR, encoding="utf-8")
    answer = generate(tmp_path, "float16", VLLM_SPYRE_DYNAMO_BACKEND="", PYTHONPATH=str(tmp_path))
    assert answer.stdout.strip() == EXPECTED, answer.stderr
    assert answer.stderr.count("torch_sendnn is told 2 64") == 1
    assert "Worker 0 runs on cpu (IBM Spyre)" in answer.stderr
    assert "Warm-up with backend sendnn: 2 shapes" in answer.stderr
