"""Owns the count of launches in a decode step: `cann-sim run -- python -m plugins.ascend.tests.launches`.

A call is what the host asks for; a launch is what runs on a stream, a replayed graph's included. The embedded model has four layers.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import torch

from cann_sim import counting
from vllm.engine.llm_engine import LLMEngine
from vllm.inputs import TokensPrompt
from vllm.sampling_params import SamplingParams
from vllm.testing.engines import engine_config
from vllm.testing.workplace import Workplace

STEPS = 10
PATH = "vllm_ascend.platform.AscendPlatform"


def count(rows: int, *, captured: bool) -> dict[str, Any]:
    """Per step, in the middle of a generation."""
    with Workplace(PATH) as workplace:
        options = {
            "dtype": "bfloat16",
            "max_num_seqs": 32,
            "enforce_eager": not captured,
            "enable_prefix_caching": False,
        }
        engine = LLMEngine(engine_config(workplace, **options))
    params = SamplingParams(temperature=0, max_tokens=4 * STEPS, ignore_eos=True)
    for row in range(rows):
        engine.add_request(str(row), TokensPrompt(prompt_token_ids=list(range(5, 15))), params)
    for _ in range(4):
        engine.step()
    torch.npu.synchronize()
    with counting() as counted:
        for _ in range(STEPS):
            engine.step()
    engine.shutdown()
    counters = counted.counters
    return {
        "rows": rows,
        "captured": captured,
        "host_calls": counters.host_calls / STEPS,
        "launches": counters.launches / STEPS,
        "graphs": counters.graph_launches / STEPS,
        "waits": counters.operations["aclrtMemcpy"].calls / STEPS,
    }


def main() -> None:
    """As JSON with `--json`, else as a table."""
    counts = [count(rows, captured=captured) for rows in (1, 32) for captured in (False, True)]
    if "--json" in sys.argv:
        print(json.dumps(counts))
        return
    print("| rows | step | calls of the host | launches on the device | waits |\n|---|---|---|---|---|")
    for row in counts:
        kind = "captured" if row["captured"] else "eager"
        print(f"| {row['rows']} | {kind} | {row['host_calls']:g} | {row['launches']:g} | {row['waits']:g} |")


if __name__ == "__main__":
    main()
