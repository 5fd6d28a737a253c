"""A server under random requests for a long time: what it holds at the start, meanwhile, and when all clients have gone.

    python benchmarks/serving_soak.py [--duration 600] [--seed 1] [--clients 24] [--interval 10] [--json FILE] [-- FLAGS OF VLLM SERVE]

Starts its own `vllm serve`, with the small model that is inside the package, and always ends it. Three things only warm it up: requests of
every kind; among usual ones, as many different quick ones as fill what the server keeps up to a bound (grammars, verdicts, responses, KV
blocks); and the usual ones for a twentieth of the time. Then every interval tells resident memory, descriptors and threads of its
processes, what runs and waits, and KV-cache use. On an idle machine it takes two to three minutes more than --duration.

Verdict: nothing surprising happened; at rest nothing runs, waits or is cached for a request; processes, descriptors and threads are no
more than after the warm-up; the server ends with status 0 and leaves no process, shared memory or temporary file; the memory of each kind
of process is shown to grow by less than --most-growth MB per 1,000 requests after the warm-up (`growth.py`: a run of a minute is too short
to show it, and says so). Exit status 0 if all of that holds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from growth import Growth, growth_of
from serving_clients import Crowd
from serving_process import Holdings, Serving, serving

FLAGS = (
    *("--max-num-seqs", "24", "--num-gpu-blocks-override", "800", "--dtype", "float32", "--shutdown-timeout", "20"),
    *("--enable-auto-tool-choice", "--tool-call-parser", "hermes", "--disable-uvicorn-access-log"),
)
"""Few enough blocks that requests are preempted now and then."""
REST_s = 20.0
"""How long the server may take to come to rest: an idle connection is kept for 5 s, an idle thread for 10 s."""
_MB = 1e6


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """What was seen at one moment."""

    at_s: float
    requests: int
    load: dict[str, float]
    held: dict[str, Holdings]


@dataclass(kw_only=True, slots=True)
class Soak:
    """One run."""

    server: Serving
    crowd: Crowd
    start_s: float = field(default_factory=time.monotonic)
    looks: list[Look] = field(default_factory=list)
    """After the warm-up."""

    @property
    def growths(self) -> dict[str, Growth]:
        """MB of resident memory per 1,000 requests, by process."""
        thousands = [look.requests / 1000 for look in self.looks]
        names = sorted({name for look in self.looks for name in look.held})
        return {
            name: growth_of(thousands, [look.held.get(name, Holdings()).rss_bytes / _MB for look in self.looks])
            for name in names
        }

    async def look(self) -> Look:
        """Look now."""
        load = await asyncio.to_thread(self.server.load)
        at_s = time.monotonic() - self.start_s
        return Look(at_s=at_s, requests=self.crowd.requests, load=load, held=self.server.holdings())

    async def run(self, args: argparse.Namespace) -> dict[str, str]:
        """Verdicts by name; empty words are good ones."""
        await self._warm_up(args)
        before, words = await self._at_rest(lambda _: False), self.server.in_words()
        pressing = asyncio.create_task(self._press(args.clients, args.duration))
        while not (await asyncio.wait({pressing}, timeout=args.interval))[0]:
            self.looks.append(await self.look())
            _print(self.looks[-1])
        await pressing
        after = await self._at_rest(lambda look: _is_at_rest(look) and not _more_held(before, look))
        if _more_held(before, after):
            print(f"held before:\n{words}\nheld now:\n{self.server.in_words()}")
        return {
            "surprises": "\n  ".join(self.crowd.surprises),
            "at rest": "" if _is_at_rest(after) else f"there still is {after.load}",
            "processes, descriptors and threads": _more_held(before, after),
            "memory per 1,000 requests": self._grown(args.most_growth),
        }

    async def _warm_up(self, args: argparse.Namespace) -> None:
        await self.crowd.warm_up(args.clients)
        _print(await self.look())
        await self.crowd.fill(args.clients)
        _print(await self.look())
        await self._press(args.clients, args.duration / 20)

    def _grown(self, most_mb: float) -> str:
        for name, growth in self.growths.items():
            print(f"{name} grows by {growth} MB per 1,000 requests")
        found = {name: growth.verdict(most_mb) for name, growth in self.growths.items()}
        return "; ".join(f"{name} {words}" for name, words in found.items() if words) or _nothing_seen(self.looks)

    async def _press(self, clients: int, duration_s: float) -> None:
        until_s = time.monotonic() + duration_s
        await self.crowd.press(clients, lambda: time.monotonic() > until_s)

    async def _at_rest(self, is_enough: Callable[[Look], bool]) -> Look:
        """What is held once it is enough, or after a while."""
        until_s = time.monotonic() + REST_s
        look = await self.look()
        while not is_enough(look) and time.monotonic() < until_s:
            await asyncio.sleep(1)
            look = await self.look()
        _print(look)
        return look


def _print(look: Look) -> None:
    held = "  ".join(
        f"{name}: {each.rss_bytes / _MB:6.1f} MB {each.descriptors:3d} fds {each.threads:2d} threads"
        for name, each in look.held.items()
    )
    running, waiting, kv = look.load.values()
    print(
        f"{look.at_s:7.1f} s {look.requests:6d} requests  {held}  running {running:.0f} waiting {waiting:.0f} KV {kv:.1%}",
        flush=True,
    )


def _is_at_rest(look: Look) -> bool:
    return not any(look.load.values())


def _more_held(before: Look, after: Look) -> str:
    return "; ".join(
        f"{name} has {getattr(now, what)} {what}, it had {getattr(before.held.get(name, Holdings()), what)}"
        for name, now in after.held.items()
        for what in ("processes", "descriptors", "threads")
        if getattr(now, what) > getattr(before.held.get(name, Holdings()), what)
    )


def _nothing_seen(looks: list[Look]) -> str:
    return "" if looks else "nobody looked: --interval is longer than --duration"


def soak(args: argparse.Namespace) -> dict[str, Any]:
    """Everything that was seen, and the verdicts."""
    with serving(*FLAGS, *args.flags) as server:
        one = Soak(server=server, crowd=Crowd(server.url, args.seed))
        verdicts = asyncio.run(one.run(args))
        status = server.stop()
        verdicts["exit status"] = f"{status}" if status else ""
        verdicts["left behind"] = ", ".join(server.left_behind())
        verdicts["log"] = "\n  ".join(
            line for line in server.log.splitlines() if "ERROR" in line or "Traceback" in line
        )
    return {
        "verdicts": verdicts,
        "outcomes": dict(one.crowd.outcomes.most_common()),
        "kinds": dict(one.crowd.kinds.most_common()),
        "growths": {name: asdict(growth) for name, growth in one.growths.items()},
        "looks": [asdict(look) for look in one.looks],
    }


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--duration", type=float, default=600.0, help="seconds")
    parser.add_argument("--interval", type=float, default=10.0, help="seconds between two looks")
    parser.add_argument("--clients", type=int, default=24, help="at a time")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--most-growth", type=float, default=1.0, help="MB per 1,000 requests")
    parser.add_argument("--json", help="file for the result")
    parser.add_argument("flags", nargs="*", help="more flags of vllm serve, after --")
    args = parser.parse_args()
    result = soak(args)
    print("kinds:", result["kinds"], "\noutcomes:", result["outcomes"])
    for name, words in result["verdicts"].items():
        print(f"{name:>34}: {words or 'good'}")
    if args.json:
        Path(args.json).write_text(json.dumps(result, indent=2), encoding="utf-8")
    raise SystemExit(any(result["verdicts"].values()))


if __name__ == "__main__":
    main()
