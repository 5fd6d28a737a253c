"""The law "core names no vendor" sees what it should, and only that."""

from __future__ import annotations

from pathlib import Path

import pytest

from ci.vendor_free import main, scan_text, scan_tree

FILE = Path("some/file.py")


@pytest.mark.parametrize(
    "line",
    [
        "torch.cuda.synchronize()",
        "import torch_npu",
        "if platform.is_cuda():",
        "if current_platform.is_cuda_alike(): pass",
        'name == "ascend"',
        "# the Spyre card needs blocks of 64",
        "class NPUWorker(WorkerBase):",
        "class AscendWorker(WorkerBase):",
        'backend = "sendnn"',
        "hccl_group = None",
        'backend = "nccl"',
        "npu_block_size = 128",
    ],
)
def test_a_vendor_is_found(line: str) -> None:
    (finding,) = scan_text(f"import os\n{line}\n", FILE)
    assert (finding.file, finding.line, finding.text) == (FILE, 2, line)


@pytest.mark.parametrize(
    "line",
    [
        "input_ids = inputs[0]",
        "sort(descending=True)",
        "items in ascending order",
        'install = "vllm-plugin-cpu-ref"',
        "num_gpu_blocks_override: int | None = None",
        "you cannot do that",
        "output = scanner.cannot",
        "throughput_tokens_s",
        "device.synchronize()",
    ],
)
def test_innocent_words_pass(line: str) -> None:
    assert list(scan_text(line, FILE)) == []


def test_a_tree_is_read_in_full_and_weights_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "a.py").write_text("x = 1\nimport torch_npu\n")
    (tmp_path / "model.json").write_text('{"ascend": 1}')
    assert [str(finding) for finding in scan_tree(tmp_path)] == [
        f"{tmp_path}/deep/er/a.py:2: core names a vendor: import torch_npu"
    ]


def test_the_exit_code_tells(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 0
    (tmp_path / "a.py").write_text("torch.cuda.empty_cache()")
    assert main([str(tmp_path)]) == 1
    assert "a.py:1: core calls a vendor's part of torch" in capsys.readouterr().out
    assert main([str(tmp_path / "missing")]) == 2
