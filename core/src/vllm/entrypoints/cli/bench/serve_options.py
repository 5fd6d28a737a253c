"""Owns the options of `vllm bench serve`, under vLLM's names."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vllm.config.option_kinds import NUMBER, SWITCH, Kind, choice, mapping, real, text, whole
from vllm.config.options import option, read_options
from vllm.entrypoints.cli.bench.common import check_json_path

__all__ = ["METRICS", "ServeBenchOptions"]

_SERVER, _REQUESTS, _LOAD, _RESULT = "Server", "Requests", "Load", "Result"
METRICS = ("ttft", "tpot", "itl", "e2el")


def _list_of(read_one: Any, words: str) -> Kind:
    """Parts between commas, or a sequence of them."""

    def parse(value: Any) -> tuple[Any, ...]:
        return tuple(map(read_one, value.split(",") if isinstance(value, str) else value))

    return Kind(words, "A,B", parse)


def _metric(name: str) -> str:
    if name not in METRICS:
        raise ValueError
    return name


def _percent(value: Any) -> float:
    percent = float(value)
    if not 0 <= percent <= 100:
        raise ValueError
    return percent


@dataclass(kw_only=True)
class ServeBenchOptions:
    """Options of this kind."""

    base_url: str | None = option(
        None, text(placeholder="URL"), "Address of the server, instead of host and port.", group=_SERVER, common=True
    )
    host: str = option("127.0.0.1", text(placeholder="HOST"), "Where the server is.", group=_SERVER, common=True)
    port: int = option(8000, whole(at_least=1, at_most=65535), "The server's port.", group=_SERVER, common=True)
    backend: str = option(
        "openai", choice("openai", "openai-chat", others={"vllm": "openai"}), "Which API is asked.", group=_SERVER
    )
    endpoint: str | None = option(
        None, text(placeholder="PATH"), "Path that is asked.", group=_SERVER, default_words="the API's"
    )
    model: str | None = option(
        None,
        text(placeholder="NAME"),
        "Model to ask.",
        group=_SERVER,
        common=True,
        aliases=("served_model_name",),
        default_words="the first that the server names",
    )
    api_key: str | None = option(
        None, text(placeholder="KEY"), "Key of the server.", group=_SERVER, default_words="OPENAI_API_KEY"
    )
    tokenizer: str | None = option(
        None,
        text(placeholder="FOLDER"),
        "Model folder whose tokens make the prompts.",
        group=_REQUESTS,
        default_words="tokens that the server tells",
    )
    dataset_name: str = option("random", choice("random"), "What the prompts are.", group=_REQUESTS)
    num_prompts: int = option(1000, whole(at_least=1, human=True), "Requests.", group=_REQUESTS, common=True)
    random_input_len: int = option(
        1024,
        whole(at_least=1, human=True),
        "Tokens of each prompt.",
        group=_REQUESTS,
        common=True,
        aliases=("input_len",),
    )
    random_output_len: int = option(
        128, whole(at_least=1, human=True), "Tokens to generate.", group=_REQUESTS, common=True, aliases=("output_len",)
    )
    random_range_ratio: float = option(
        0.0,
        real(above=0, at_most=0.999, or_equal=True),
        "Lengths vary by this share, up and down.",
        group=_REQUESTS,
        common=True,
    )
    random_prefix_len: int = option(
        0, whole(at_least=0, human=True), "Tokens that all prompts begin with.", group=_REQUESTS
    )
    ignore_eos: bool = option(False, SWITCH, "Go on past the model's end-of-text token.", group=_REQUESTS, common=True)
    temperature: float | None = option(
        None, NUMBER, "0 takes the most likely token each time.", group=_REQUESTS, default_words="the server's"
    )
    extra_body: dict[str, Any] | None = option(None, mapping(), "More fields of each request.", group=_REQUESTS)
    seed: int = option(0, whole(at_least=0), "Of prompts, lengths and arrivals.", group=_LOAD)
    request_rate: float = option(
        float("inf"), real(above=0), "Requests per second; inf sends all at once.", group=_LOAD, common=True
    )
    burstiness: float = option(
        1.0, real(above=0), "1 = Poisson arrivals, less comes in bursts, more evenly.", group=_LOAD, common=True
    )
    max_concurrency: int | None = option(
        None, whole(at_least=1), "Most requests under way.", group=_LOAD, common=True, default_words="no limit"
    )
    num_warmups: int = option(
        0, whole(at_least=0), "Requests before measuring, beside the one that tries.", group=_LOAD
    )
    disable_tqdm: bool = option(False, SWITCH, "Show no progress.", group=_RESULT)
    percentile_metrics: tuple[str, ...] = option(
        ("ttft", "tpot", "itl"),
        _list_of(_metric, f"some of {','.join(METRICS)}, comma between"),
        "What is shown with percentiles.",
        group=_RESULT,
        common=True,
        default_words="ttft,tpot,itl",
    )
    metric_percentiles: tuple[float, ...] = option(
        (99.0,),
        _list_of(_percent, "percents from 0 to 100, comma between"),
        "Which percentiles.",
        group=_RESULT,
        common=True,
        default_words="99",
    )
    save_result: bool = option(False, SWITCH, "Write the result as JSON.", group=_RESULT, common=True)
    save_detailed: bool = option(False, SWITCH, "Write every request's numbers too.", group=_RESULT)
    result_dir: str = option(".", text(placeholder="FOLDER"), "Where to.", group=_RESULT)
    result_filename: str | None = option(
        None, text(placeholder="FILE"), "Name of the file.", group=_RESULT, default_words="from load, model and time"
    )
    label: str | None = option(None, text(), "Begins the file's name, instead of the API.", group=_RESULT)

    def __post_init__(self) -> None:
        read_options(self)
        self.api_key = self.api_key or os.environ.get("OPENAI_API_KEY") or None
        if self.save_result:
            check_json_path(str(Path(self.result_dir, self.result_filename or "result.json")), "--result-dir")

    @property
    def url(self) -> str:
        """Address of the server."""
        return self.base_url or f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"
