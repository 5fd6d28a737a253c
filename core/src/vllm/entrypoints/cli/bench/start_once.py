"""Owns one measured start, run as a process of its own: import, build the engine, generate one token, print the times as JSON."""

from __future__ import annotations

import json
import resource
import sys
import time

__all__ = ["main"]


def main(engine_args_json: str, started_s: float) -> dict[str, float]:
    """Times in seconds since `started_s` (time.monotonic() of the caller), and this process's peak memory."""
    from vllm.config.engine_args import EngineArgs
    from vllm.engine.llm_engine import LLMEngine
    from vllm.inputs import TokensPrompt
    from vllm.sampling_params import SamplingParams

    imported_s = time.monotonic()
    engine = LLMEngine.from_engine_args(EngineArgs(**json.loads(engine_args_json)))
    built_s = time.monotonic()
    params = SamplingParams(max_tokens=1, temperature=0.0, detokenize=False)
    engine.add_request("0", TokensPrompt(prompt_token_ids=[0]), params)
    while engine.has_unfinished_requests():
        engine.step()
    first_token_s = time.monotonic() - started_s
    engine.shutdown()
    return {
        "import_s": imported_s - started_s,
        "engine_s": built_s - imported_s,
        "first_token_s": first_token_s,
        "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], float(sys.argv[2]))))
