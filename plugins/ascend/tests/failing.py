"""Owns a run in which the device fails on purpose: `python -m plugins.ascend.tests.failing RULES [option=value …]` under `cann-sim run`.

Prints one JSON line: what the generation before, the failing one and the one after it raised or gave. Rules for the workers of several
ranks stand in CANN_SIM_FAULTS instead. The rule "full" is no fault: something else takes all the device's memory for a while.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch

from cann_sim import set_faults
from vllm import LLM, SamplingParams

PROMPTS = ["Count: 17 18 19", "Count: 5 6 7"]
LONG_PROMPTS = [" ".join(map(str, range(100, 150)))] * 32
"""Memory that no step before has asked for."""


def attempt(llm: LLM, prompts: list[str]) -> dict[str, Any]:
    """Class and text of the error, or the texts that came out."""
    try:
        outputs = llm.generate(prompts, SamplingParams(temperature=0, max_tokens=12), use_tqdm=False)
    except Exception as error:  # noqa: BLE001 - what is raised is what this program is about
        return {"error": type(error).__name__, "text": str(error)}
    return {"texts": [output.outputs[0].text for output in outputs]}


@contextmanager
def failing_device(rules: str) -> Iterator[None]:
    """The faults are in force, or the memory is taken."""
    taken = list(_all_memory()) if rules == "full" else []
    set_faults("" if rules == "full" else rules)
    yield
    taken.clear()
    set_faults("")


def _all_memory() -> Iterator[torch.Tensor]:
    """The last of it in pieces smaller than a step wants."""
    torch.npu.empty_cache()
    for mib in (256, 16, 1):
        try:
            while True:
                yield torch.empty(mib << 20, dtype=torch.uint8, device="npu")
        except torch.OutOfMemoryError:
            continue


def main() -> None:
    rules, *pairs = sys.argv[1:]
    options = {name: json.loads(value) for name, _, value in (pair.partition("=") for pair in pairs)}
    defaults = {"max_model_len": 256, "max_num_seqs": 4, "dtype": "bfloat16", "enforce_eager": True}
    llm = LLM(**{**defaults, **options})
    before = attempt(llm, PROMPTS)
    with failing_device(rules) if rules else nullcontext():
        failing = attempt(llm, LONG_PROMPTS if rules == "full" else PROMPTS)
    print(json.dumps({"before": before, "failing": failing, "after": attempt(llm, PROMPTS)}), flush=True)


if __name__ == "__main__":
    main()
