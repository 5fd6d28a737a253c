"""W8A8 on the device: the format in which the weights really lie, and a sleep in it."""

from __future__ import annotations

from pathlib import Path

import pytest

pytestmark = pytest.mark.npu
ROWS, NZ = 2, 29


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    from vllm.testing.quantised_checkpoint import write_w8a8

    monkeypatch.setenv("VLLM_PLATFORM", "ascend")
    write_w8a8(tmp_path)
    return str(tmp_path)


@pytest.mark.parametrize(("sleeps", "wanted"), [(False, NZ), (True, ROWS)])
def test_weights_lie_in_nz_unless_the_model_sleeps(checkpoint: str, sleeps: bool, wanted: int) -> None:
    """A storage in NZ cannot shrink."""
    from vllm import LLM, SamplingParams

    llm = LLM(model=checkpoint, max_model_len=256, max_num_seqs=2, dtype="bfloat16", enable_sleep_mode=sleeps)
    prompts, greedy = ["Count: 17 18 19", "Count: 5 6 7"], SamplingParams(temperature=0, max_tokens=8)
    before = [output.outputs[0].text for output in llm.generate(prompts, greedy, use_tqdm=False)]
    assert llm.apply_model(_formats) == [{wanted}]
    if sleeps:
        llm.sleep(1)
        llm.wake_up()
        assert [output.outputs[0].text for output in llm.generate(prompts, greedy, use_tqdm=False)] == before


def _formats(model: object) -> set[int]:
    """Of the integer weights."""
    import torch
    import torch_npu

    tensors = (*model.parameters(), *model.buffers())
    return {torch_npu.get_npu_format(tensor) for tensor in tensors if tensor.dtype is torch.int8}
