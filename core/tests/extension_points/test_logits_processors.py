"""Custom logits processors: classes or dotted paths in `logits_processors`, or the entry-point group `vllm.logits_processors`."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from core.tests.extension_points.engines import PROMPTS, example_engine, generated, plain_tokens
from vllm import SamplingParams
from vllm.errors import InvalidRequestError
from vllm.testing.row_values import RowValues


class Banned(RowValues[int]):
    """`extra_args={"ban": id}`: this request never gives that token."""

    @classmethod
    def validate_params(cls, sampling_params: SamplingParams) -> None:
        if not isinstance((sampling_params.extra_args or {}).get("ban", 0), int):
            raise ValueError("ban must be a token id")

    def _value(self, params: SamplingParams, outputs: Sequence[int]) -> int | None:
        return (params.extra_args or {}).get("ban")

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        for row, token in self._value_of_row.items():
            logits[row, token] = float("-inf")
        return logits


@pytest.mark.parametrize("given", [Banned, f"{__name__}:Banned"], ids=["class", "path"])
def test_a_banned_token_does_not_come(given: Any) -> None:
    likely = plain_tokens()[0][0]
    with example_engine(logits_processors=[given]) as engine:
        assert generated(engine) == plain_tokens(), "requests that ask for nothing are untouched"
        params = SamplingParams(temperature=0.0, max_tokens=12, ignore_eos=True, extra_args={"ban": likely})
        (tokens,) = generated(engine, PROMPTS[:1], params)
    assert len(tokens) == 12
    assert likely not in tokens


def test_the_documented_one_works_as_written(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "logits-processors.md").read_text()
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "favour.py").write_text(program)
    done = subprocess.run([sys.executable, tmp_path / "favour.py"], capture_output=True, text=True, check=False)
    favoured, plain = map(ast.literal_eval, done.stdout.splitlines()[-2:])
    assert len(favoured) == 3 and len(set(favoured)) == 1, done.stderr
    assert len(set(plain)) > 1, "the other request is untouched"


def test_the_processor_refuses_a_request_before_it_runs() -> None:
    refused = pytest.raises(InvalidRequestError, match="Banned refuses the request: ban must be a token id")
    with example_engine(logits_processors=[Banned]) as engine, refused:
        engine.add_request("x", "hello", SamplingParams(extra_args={"ban": "the"}))
