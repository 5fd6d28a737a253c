"""How fast a server answers many streams, and what it costs; beside another server, in one run.

    python benchmarks/serving.py [--shape T] [--concurrency 1,16,64,256] [--rounds 3] [--json FILE]
    python benchmarks/serving.py --against '/path/to/vllm serve {model} --load-format dummy --max-model-len 512 --port {port}'

Both servers run all the time, one idle while the other is measured, and take turns: ours, theirs, ours, theirs. The load is that of
`vllm bench serve` in this process: random token ids, greedy, `ignore_eos`, streamed, as many requests under way as the concurrency says.
Each round has prompts of its own, the same for both. Numbers are medians over the rounds; ratios are taken within a round (above 1: ours
is better) and shown with their range. On a busy machine only the ratios mean something. Marks, against vLLM on a CPU: throughput 1.5
at 16 and 256, TTFT and TPOT above 1, ready in 5 s, 1 GB resident. Give the other server what its makers advise (`env NAME=value`).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from servers import Server
from workloads import SHAPES, Load, prompts, write_model

from vllm.entrypoints.cli.bench.serve_options import ServeBenchOptions
from vllm.entrypoints.cli.bench.serve_report import numbers
from vllm.entrypoints.client.api import ApiClient
from vllm.entrypoints.client.load import Load as Measured
from vllm.entrypoints.client.load import Planned, ask_all

OURS = f"{sys.executable} -m vllm.entrypoints.cli.main serve {{model}} --load-format dummy --max-model-len 512 --port {{port}}"
LENGTHS = {"T": (128, 64), "S": (256, 64), "M": (256, 64)}
"""Shape -> tokens of a prompt, tokens to generate."""
PATH = "/v1/completions"
WARM_UP_TOKENS = 8

COLUMNS = {
    "output_tok_s": "tok/s",
    "ttft_ms": "TTFT",
    "ttft_p99_ms": "p99",
    "tpot_ms": "TPOT",
    "itl_ms": "ITL",
    "itl_p99_ms": "p99",
    "front_cpu_ms": "API CPU",
    "engine_cpu_ms": "engine CPU",
    "load_cpu_ms": "load CPU",
}
"""Field -> title. Times in ms, medians unless p99; CPU in ms per 1,000 output tokens."""
HIGHER_IS_BETTER = {"output_tok_s"}
Numbers = dict[str, float]


def main() -> None:
    """Measure, print, write."""
    args = _arguments()
    commands = {"ours": args.ours} | ({"theirs": args.against} if args.against else {})
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        model = write_model(args.shape, Path(folder) / args.shape)
        logs = Path(args.logs or folder)
        servers = [
            stack.enter_context(Server(name, command, model, logs / f"{name}.log"))
            for name, command in commands.items()
        ]
        at_rest_bytes = {server.name: server.resident_bytes() for server in servers}
        loads = {each: _measure(servers, args, each) for each in args.concurrency}
        result: dict[str, Any] = {"shape": args.shape, "rounds": args.rounds, "loads": loads}
        result["servers"] = {server.name: _facts(server, at_rest_bytes[server.name]) for server in servers}
    _print_servers(result["servers"])
    if args.json:
        Path(args.json).write_text(json.dumps(result, indent=2), encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=sorted(LENGTHS), default="T")
    parser.add_argument("--concurrency", type=_whole_numbers, default=[1, 16, 64, 256])
    parser.add_argument("--rounds", type=int, default=3, help="how often the servers take turns")
    parser.add_argument("--waves", type=int, default=4, help="requests of a round, as a multiple of the concurrency")
    parser.add_argument("--ours", default=OURS, metavar="CMD", help=f"the first server: {OURS}".replace("%", "%%"))
    parser.add_argument("--against", metavar="CMD", help="the other server; without it ours is measured alone")
    parser.add_argument("--logs", metavar="FOLDER", help="where what the servers say is kept")
    parser.add_argument("--json", metavar="FILE", help="file for the result")
    return parser.parse_args()


def _whole_numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _measure(servers: Sequence[Server], args: argparse.Namespace, concurrency: int) -> dict[str, Any]:
    """All rounds of one concurrency, after one short wave that is not counted."""
    for server in servers:
        _run(server, args.shape, concurrency, waves=1, seed=0, output_tokens=WARM_UP_TOKENS)
    rounds: dict[str, list[Numbers]] = {server.name: [] for server in servers}
    for seed in range(1, args.rounds + 1):
        for server in servers:
            rounds[server.name].append(_run(server, args.shape, concurrency, waves=args.waves, seed=seed))
    result: dict[str, Any] = {name: _medians(runs) for name, runs in rounds.items()} | {"rounds": rounds}
    if len(servers) == 2:
        result["ratios"] = _ratios(rounds["ours"], rounds["theirs"])
    _print_load(args.shape, concurrency, result)
    return result


def _run(
    server: Server, shape: str, concurrency: int, *, waves: int, seed: int, output_tokens: int | None = None
) -> Numbers:
    """One load on one server."""
    prompt_tokens, usual_tokens = LENGTHS[shape]
    load = Load(
        requests=max(8, concurrency * waves), prompt_tokens=prompt_tokens, output_tokens=output_tokens or usual_tokens
    )
    ids = prompts(load, SHAPES[shape]["vocab_size"], seed=1000 * concurrency + seed)
    before, own_before_s = server.cpu_time(), time.process_time()
    measured = asyncio.run(_ask(server, ids, load.output_tokens, concurrency))
    used, own_s = server.cpu_time() - before, time.process_time() - own_before_s
    result = numbers(measured, ServeBenchOptions(num_prompts=load.requests, max_concurrency=concurrency))
    if result["failed"]:
        errors = {each.error for each in measured.experiences if each.error}
        raise SystemExit(f"{server.name}: {result['failed']} of {load.requests} requests failed: {errors}")
    per_1000 = 1000 * 1000 / result["total_output_tokens"]
    return {
        "output_tok_s": result["output_throughput"],
        "ttft_ms": result["median_ttft_ms"],
        "ttft_p99_ms": result["p99_ttft_ms"],
        "tpot_ms": result["median_tpot_ms"],
        "itl_ms": result["median_itl_ms"],
        "itl_p99_ms": result["p99_itl_ms"],
        "front_cpu_ms": used.front_s * per_1000,
        "engine_cpu_ms": used.rest_s * per_1000,
        "load_cpu_ms": own_s * per_1000,
    }


async def _ask(server: Server, ids: Sequence[list[int]], output_tokens: int, concurrency: int) -> Measured:
    client = ApiClient(server.url, None)
    try:
        model = await client.first_model("/v1/models")
        planned = [_planned(model, each, output_tokens) for each in ids]
        start_s = time.perf_counter()
        seen = await ask_all(
            client, PATH, planned, waits_s=[0.0] * len(ids), max_concurrency=concurrency, on_end=lambda: None
        )
        return Measured(model=model, duration_s=time.perf_counter() - start_s, experiences=seen)
    finally:
        client.close()


def _planned(model: str, ids: list[int], output_tokens: int) -> Planned:
    body = {
        "model": model,
        "prompt": ids,
        "max_tokens": output_tokens,
        "temperature": 0,
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    return Planned(body=msgspec.json.encode(body), prompt_tokens=len(ids))


def _medians(runs: Sequence[Numbers]) -> Numbers:
    return {field: statistics.median(run[field] for run in runs) for field in COLUMNS}


def _ratios(ours: Sequence[Numbers], theirs: Sequence[Numbers]) -> dict[str, list[float]]:
    """Field -> (median, lowest, highest) of the rounds."""
    found = {}
    for field in COLUMNS:
        each = [
            _better(field, mine[field], other[field])
            for mine, other in zip(ours, theirs, strict=True)
            if mine[field] and other[field]
        ]
        if each:
            found[field] = [statistics.median(each), min(each), max(each)]
    return found


def _better(field: str, ours: float, theirs: float) -> float:
    return ours / theirs if field in HIGHER_IS_BETTER else theirs / ours


def _facts(server: Server, at_rest_bytes: int) -> dict[str, Any]:
    return {
        "command": server.command,
        "ready_s": server.ready_s,
        "resident_mib_at_rest": at_rest_bytes / 2**20,
        "resident_mib": server.resident_bytes() / 2**20,
        "peak_mib": server.peak_bytes() / 2**20,
    }


def _print_load(shape: str, concurrency: int, result: dict[str, Any]) -> None:
    prompt_tokens, output_tokens = LENGTHS[shape]
    print(f"\n{shape}, {concurrency} at once, {prompt_tokens} -> {output_tokens}")
    print(f"{'':>8}" + "".join(f"{title:>12}" for title in COLUMNS.values()))
    for name in ("ours", "theirs"):
        if name in result:
            print(f"{name:>8}" + "".join(f"{result[name][field]:12,.1f}" for field in COLUMNS))
    ratios = result.get("ratios", {})
    for words, place in (("ratio", 0), ("lowest", 1), ("highest", 2)):
        if ratios:
            shown = [f"{ratios[field][place]:.2f}" if field in ratios else "" for field in COLUMNS]
            print(f"{words:>8}" + "".join(f"{each:>12}" for each in shown))
    sys.stdout.flush()


def _print_servers(servers: dict[str, dict[str, Any]]) -> None:
    print(f"\n{'':>8}{'ready s':>12}{'MiB at rest':>12}{'MiB now':>12}{'MiB peak':>12}")
    for name, facts in servers.items():
        sizes = [facts[field] for field in ("resident_mib_at_rest", "resident_mib", "peak_mib")]
        print(f"{name:>8}{facts['ready_s']:12.2f}" + "".join(f"{size:12,.0f}" for size in sizes))


if __name__ == "__main__":
    main()
