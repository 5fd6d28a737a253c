"""Scripts without `if __name__ == "__main__":`, on two ranks: what a worker does when it needs something that the script defines."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

REMEDY = "put what starts the engine under `if __name__ == '__main__':`"
SMALL = "tensor_parallel_size=2, max_model_len=64, max_num_seqs=2, num_gpu_blocks_override=8, use_tqdm_on_load=False"
FUNCTION = f"""
    from vllm import LLM
    def classes(model):
        return type(model).__name__
    llm = LLM({SMALL})
    print(llm.apply_model(classes))
"""
CLASS = f"""
    from vllm import LLM
    from vllm.sampling.logits_processors_interface import LogitsProcessor
    class Mine(LogitsProcessor):
        pass
    LLM({SMALL}, logits_processors=[Mine])
"""


def run(tmp_path: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Returns when every process that holds the pipes has ended: the script and all its workers."""
    path = tmp_path / "script.py"
    path.write_text(textwrap.dedent(script))
    environment = {**os.environ, "VLLM_LOGGING_LEVEL": "ERROR"}
    return subprocess.run(
        [sys.executable, str(path)], capture_output=True, text=True, check=False, timeout=60, env=environment
    )


@pytest.mark.parametrize("script", [FUNCTION, CLASS], ids=["function in a call", "class in the configuration"])
def test_an_engine_that_a_worker_would_start_again_is_refused(tmp_path: Path, script: str) -> None:
    done = run(tmp_path, script)
    assert done.returncode == 1 and done.stdout == ""
    last = done.stderr[done.stderr.rindex("vllm.errors.ConfigError") :]
    assert f"The script {tmp_path}/script.py starts an engine when a worker process runs it again." in last
    assert REMEDY in last
    assert "Raised by: Worker " in last


def test_with_the_guard_the_function_is_called(tmp_path: Path) -> None:
    head, body = FUNCTION.split("    llm = ")
    guarded = f"{head}    if __name__ == '__main__':\n        llm = {body.replace('    print', '        print')}"
    done = run(tmp_path, guarded)
    assert (done.stdout, done.returncode) == ("['LlamaForCausalLM', 'LlamaForCausalLM']\n", 0)
