"""Many clients that stream at once: for each, what came in pieces must be what the same request answers whole.

    python benchmarks/serving_streams.py [--streams 256] [--seed 1] [--max-tokens 64] [--json FILE] [-- FLAGS OF VLLM SERVE]

Starts its own `vllm serve`, with the small model that is inside the package, and always ends it. Half of the requests are completions,
half chats; a third greedy, a third with a seed, a third with a seed and several outputs; some have stop strings or log-probabilities.
Compared are texts, finish and stop reasons, token ids, log-probabilities and usage. Exit status 0 if all are equal.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from serving_clients import answer_to, connected
from serving_process import serving
from serving_requests import Asked

FLAGS = ("--max-num-seqs", "256", "--num-gpu-blocks-override", "4000", "--dtype", "float32")
Json = dict[str, Any]


def request(index: int, seed: int, max_tokens: int) -> tuple[str, Json]:
    """Path and body of one request, without `stream`."""
    chance = random.Random(f"{seed} {index}")
    start = chance.randrange(100)
    prompt = f"Count: {start} {start + 1} {start + 2}"
    body: Json = {"max_tokens": chance.randint(1, max_tokens), "return_token_ids": True, "ignore_eos": index % 5 == 0}
    body |= [{"temperature": 0}, {"temperature": 1, "seed": index}, {"temperature": 1, "seed": index, "n": 3}][
        index % 3
    ]
    if chance.random() < 0.3:
        body["stop"] = [" 5", "e", f" {start + 5}"]
    is_chat, has_logprobs = index % 2 == 1, chance.random() < 0.3
    if not is_chat:
        return "/v1/completions", body | {"prompt": prompt} | ({"logprobs": 2} if has_logprobs else {})
    more = {"logprobs": True, "top_logprobs": 2} if has_logprobs else {}
    return "/v1/chat/completions", body | {"messages": [{"role": "user", "content": prompt}]} | more


def whole(answer: Json) -> tuple[list[Json], Json]:
    """Outputs as they are compared, and usage, of a whole answer."""
    return [_output(each, each.get("message", each)) for each in answer["choices"]], answer["usage"]


def joined(events: Iterable[Json]) -> tuple[list[Json], Json]:
    """The same of a stream's events."""
    outputs: dict[int, Json] = {}
    usage: Json = {}
    for event in events:
        for choice in event["choices"]:
            into = outputs.setdefault(choice["index"], _output({}, {}))
            _join(into, _output(choice, choice.get("delta", choice)))
        usage = event.get("usage") or usage
    return [outputs[index] for index in sorted(outputs)], usage


def _output(choice: Json, said: Json) -> Json:
    """What is compared of one output."""
    logprobs = choice.get("logprobs") or {}
    values = logprobs.get("token_logprobs") or [each["logprob"] for each in logprobs.get("content") or []]
    return {
        "text": said.get("text") or said.get("content") or "",
        "token_ids": choice.get("token_ids") or [],
        "logprobs": [round(value, 4) for value in values],
        "finish_reason": choice.get("finish_reason"),
        "stop_reason": choice.get("stop_reason"),
    }


def _join(into: Json, new: Json) -> None:
    for name in ("text", "token_ids", "logprobs"):
        into[name] += new[name]
    for name in ("finish_reason", "stop_reason"):
        into[name] = into[name] if new[name] is None else new[name]


def events_in(body: bytes) -> Iterator[Json]:
    """The data of server-sent events, which must end with [DONE]."""
    *events, last, nothing = body.split(b"\n\n")
    if (last, nothing) != (b"data: [DONE]", b""):
        raise ValueError(f"The stream ends with {last[:200]!r}.")
    for event in events:
        yield json.loads(event.removeprefix(b"data: "))


async def _ask(url: str, path: str, body: Json) -> bytes:
    async with connected(url) as connection:
        status, answer = await answer_to(connection, Asked(kind="", path=path, body=json.dumps(body).encode()))
    if status != 200:
        raise ValueError(f"{path} answered with {status}: {answer[:300]!r}")
    return answer


def _difference(index: int, wanted: tuple[list[Json], Json], streamed: bytes) -> str:
    found = joined(events_in(streamed))
    return "" if found == wanted else f"request {index}: whole {wanted}\n  streamed {found}"


async def compare(url: str, streams: int, seed: int, max_tokens: int) -> Json:
    """Ask all for whole answers at once, then all as streams at once."""
    asked = [request(index, seed, max_tokens) for index in range(streams)]
    start_s = time.monotonic()
    answers = await asyncio.gather(*(_ask(url, path, body) for path, body in asked))
    whole_s = time.monotonic() - start_s
    as_stream: Json = {"stream": True, "stream_options": {"include_usage": True}}
    streamed = await asyncio.gather(*(_ask(url, path, body | as_stream) for path, body in asked))
    wanted = [whole(json.loads(answer)) for answer in answers]
    differences = [_difference(*each) for each in zip(range(streams), wanted, streamed, strict=True)]
    return {
        "streams": streams,
        "output_tokens": sum(usage["completion_tokens"] for _, usage in wanted),
        "events": sum(each.count(b"data: ") for each in streamed),
        "whole_s": round(whole_s, 2),
        "streamed_s": round(time.monotonic() - start_s - whole_s, 2),
        "differences": [each for each in differences if each],
    }


def main() -> None:
    """Compare, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=256)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--json", help="file for the result")
    parser.add_argument("flags", nargs="*", help="more flags of vllm serve, after --")
    args = parser.parse_args()
    with serving(*FLAGS, *args.flags) as server:
        result = asyncio.run(compare(server.url, args.streams, args.seed, args.max_tokens))
    for name, value in result.items():
        print(f"{name:>14}: {value if name != 'differences' else len(value)}")
    print(*result["differences"][:10], sep="\n")
    if args.json:
        Path(args.json).write_text(json.dumps(result, indent=2), encoding="utf-8")
    raise SystemExit(bool(result["differences"]))


if __name__ == "__main__":
    main()
