"""A server without sockets: the application over one engine on one event loop, and clients that talk to it through ASGI."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import openai
import pytest
from fastapi import FastAPI

from vllm.config.engine_args import EngineArgs
from vllm.engine.async_llm import AsyncLLM
from vllm.entrypoints.openai.api_server import build_app
from vllm.entrypoints.openai.server_args import ServerArgs
from vllm.entrypoints.openai.template_helpers import close_template_helpers

__all__ = ["Served", "scope_of", "served"]

ENGINE: dict[str, Any] = {
    "max_num_seqs": 16,
    "num_gpu_blocks_override": 600,
    "dtype": "float32",
    "max_model_len": 512,
    "served_model_name": ["tiny", "other-name"],
}
Story = Callable[[], Coroutine[Any, Any, Any]]


class Served:
    """An application, and what tests want of it."""

    def __init__(self, engine: AsyncLLM, args: ServerArgs, runner: asyncio.Runner) -> None:
        self.engine = engine
        self._runner = runner
        self.app: FastAPI = build_app(engine, args)
        self.http = httpx2.AsyncClient(
            transport=httpx2.ASGITransport(self.app, raise_app_exceptions=False), base_url="http://test", timeout=60
        )
        self.openai = openai.AsyncOpenAI(
            api_key="none", base_url="http://test/v1", http_client=self.http, max_retries=0, timeout=60
        )

    def run(self, story: Coroutine[Any, Any, Any]) -> Any:
        """The story's result, on the engine's loop."""
        return self._runner.run(story)

    def post(self, path: str, body: Any, **more: Any) -> httpx2.Response:
        """One answer."""
        answer: httpx2.Response = self.run(self.http.post(path, json=body, **more))
        return answer

    async def leave_after_first_event(self, path: str, body: Any) -> int:
        """Ask, and close the connection at the first part of the answer, or once the engine works if there is none. Events seen."""
        seen = 0
        gone = asyncio.Event()
        asked = [{"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}]

        async def receive() -> Any:
            if asked:
                return asked.pop()
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            nonlocal seen
            if message["type"] == "http.response.body" and message.get("more_body"):
                seen += 1
                gone.set()

        async def leave_once_it_works() -> None:
            while self.engine.num_unfinished_requests == 0:
                await asyncio.sleep(0)
            gone.set()

        leaving = asyncio.create_task(leave_once_it_works()) if not body.get("stream") else None
        await self.app(scope_of(path), receive, send)
        if leaving is not None:
            await leaving
        return seen

    def with_args(self, **args: Any) -> Served:
        """The same engine behind other options."""
        return Served(self.engine, ServerArgs(**args), self._runner)


def scope_of(path: str) -> dict[str, Any]:
    """A POST of JSON, as ASGI tells it."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "headers": [(b"content-type", b"application/json")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
    }


@contextmanager
def served(**engine_args: Any) -> Iterator[Served]:
    """A server whose engine core runs in a thread."""
    with pytest.MonkeyPatch.context() as environment:  # the tests without this server run while it lives
        environment.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
        engine = AsyncLLM.from_engine_args(EngineArgs(**(ENGINE | engine_args)))
    with asyncio.Runner() as runner:
        yield Served(engine, ServerArgs(), runner)
        engine.shutdown()
        close_template_helpers()
