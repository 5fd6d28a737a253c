"""The soak's warm-up against the server's bounds: who raises one hears that memory is judged before the server is full."""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import Any

from benchmarks.serving_requests import fillers
from vllm.engine.grammar_check import MAX_VERDICTS
from vllm.entrypoints.openai.responses_store import MAX_RESPONSES
from vllm.sampling.structured_output import MAX_CACHED_GRAMMARS

HELPERS = 2
BLOCKS, BLOCK_tokens = 800, 16
"""Of the soak's own server."""


def test_the_warm_up_fills_what_is_bounded() -> None:
    bodies: dict[str, list[Any]] = {}
    for asked in fillers(random.Random(1)):
        bodies.setdefault(asked.path, []).append(json.loads(asked.body))
    forms = Counter(json.dumps(body.get("structured_outputs")) for body in bodies["/v1/completions"])
    prompts = forms.pop("null")
    assert set(forms.values()) == {1}
    assert len(forms) > max(MAX_VERDICTS, HELPERS * MAX_CACHED_GRAMMARS)
    assert len(bodies["/v1/responses"]) > MAX_RESPONSES
    tokens = sum(len(body["prompt"]) for body in bodies["/v1/completions"] if isinstance(body["prompt"], list))
    assert prompts > 1 and tokens > BLOCKS * BLOCK_tokens
