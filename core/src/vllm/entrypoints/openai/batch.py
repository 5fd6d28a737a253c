"""Owns answering a file of requests: each line goes to the route that it names, inside this process, as if it had come over HTTP.

Line: `{"custom_id", "method": "POST", "url": "/v1/chat/completions", "body": {…}}`, as OpenAI's batch API wants it. Answers keep the
order of the lines; a line that cannot be read is answered with the error that says why.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from vllm import envs
from vllm.entrypoints.openai.api_server import build_app
from vllm.entrypoints.openai.http_errors import ApiError, error_body
from vllm.entrypoints.openai.parser_options import prepare_parsers
from vllm.entrypoints.openai.template_helpers import close_template_helpers
from vllm.errors import EngineDeadError
from vllm.logger import init_logger

if TYPE_CHECKING:
    from fastapi import FastAPI

    from vllm.config.engine_args import EngineArgs
    from vllm.engine.async_llm import AsyncLLM
    from vllm.entrypoints.openai.server_args import ServerArgs

__all__ = ["BatchCounts", "answers_to", "run_batch"]

logger = init_logger(__name__)
ROUTES = ("/v1/completions", "/v1/chat/completions")
AHEAD = 4
"""Requests that are under way, as a multiple of those that the engine runs at once: its queue is never empty."""


class _Line(msgspec.Struct):
    """One request of the file."""

    custom_id: str
    method: str
    url: str
    body: dict[str, Any]


class _Response(msgspec.Struct):
    """What the route answered."""

    status_code: int
    request_id: str
    body: msgspec.Raw


class _Answer(msgspec.Struct):
    """One line of the result. `error` is there for what failed."""

    id: str
    custom_id: str | None
    response: _Response
    error: msgspec.Raw | None


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchCounts:
    """How it went."""

    answered: int
    failed: int


def run_batch(requests: Path, answers: Path, engine_args: EngineArgs, args: ServerArgs) -> BatchCounts:
    """Answer every line of a file. The answers are there under their name once they are complete. Raises VllmError."""
    from vllm.engine.async_llm import AsyncLLM

    prepare_parsers(args)
    engine = AsyncLLM.from_engine_args(engine_args)
    try:
        ahead = AHEAD * engine.config.scheduler_config.max_num_seqs
        return asyncio.run(_write(requests, answers, build_app(engine, args), ahead))
    finally:
        close_template_helpers()
        engine.shutdown()


async def _write(requests: Path, answers: Path, app: FastAPI, ahead: int) -> BatchCounts:
    partial = answers.with_name(answers.name + ".partial")
    answered = failed = 0
    with requests.open("rb") as lines, partial.open("wb") as out:
        async with aclosing(answers_to(_without_empty(lines), app, ahead)) as found:
            async for answer, is_good in found:
                out.write(answer + b"\n")
                _check_alive(app, partial)
                answered += is_good
                failed += not is_good
    partial.replace(answers)
    return BatchCounts(answered=answered, failed=failed)


def _check_alive(app: FastAPI, partial: Path) -> None:
    """Without an engine every further line would only be refused."""
    engine: AsyncLLM = app.state.server.engine
    if engine.errored:
        raise EngineDeadError(f"The engine stopped within the batch; the answers so far are in {partial}.")


def _without_empty(lines: Iterable[bytes]) -> Iterator[bytes]:
    return (line for line in lines if line.strip())


async def answers_to(lines: Iterable[bytes], app: FastAPI, ahead: int) -> AsyncGenerator[tuple[bytes, bool], None]:
    """Each line's answer, and whether it is what was asked for; `ahead` lines are worked on at once."""
    waiting: deque[asyncio.Task[tuple[bytes, bool]]] = deque()
    try:
        for line in lines:
            if len(waiting) == ahead:
                yield await waiting.popleft()
            waiting.append(asyncio.create_task(_answer(line, app)))
        while waiting:
            yield await waiting.popleft()
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)  # their requests end before the engine does


async def _answer(text: bytes, app: FastAPI) -> tuple[bytes, bool]:
    custom_id = None
    try:
        line = msgspec.json.decode(text, type=_Line)
        custom_id = line.custom_id
        _check(line)
        status, body = await _asked(app, line.url, msgspec.json.encode(line.body))
    except (msgspec.DecodeError, RecursionError, ApiError) as problem:  # nested too deep: the line's own fault
        error = problem if isinstance(problem, ApiError) else _refusal(f"The line is no request of a batch: {problem}.")
        status, body = int(error.status), msgspec.json.encode(error_body(error))
    is_good = status == HTTPStatus.OK
    response = _Response(status, f"vllm-batch-{uuid.uuid4().hex}", msgspec.Raw(body))
    answer = _Answer(f"vllm-{uuid.uuid4().hex}", custom_id, response, None if is_good else msgspec.Raw(body))
    return msgspec.json.encode(answer), is_good


def _check(line: _Line) -> None:
    if line.method != "POST" or line.url not in ROUTES:
        raise _refusal(f"A batch cannot ask {line.method} {line.url}; it can POST to {' and '.join(ROUTES)}.")
    if line.body.get("stream"):
        raise _refusal("A batch has no streams: leave out `stream`.")


def _refusal(message: str) -> ApiError:
    return ApiError(HTTPStatus.BAD_REQUEST, message)


async def _asked(app: FastAPI, path: str, body: bytes) -> tuple[int, bytes]:
    """Status and body of a route's answer, through everything that a request over HTTP passes."""
    status, parts = 0, []
    asked = [{"type": "http.request", "body": body, "more_body": False}]
    never = asyncio.Event()

    async def receive() -> dict[str, Any]:
        if asked:
            return asked.pop()
        await never.wait()
        raise AssertionError("nobody leaves")

    async def send(message: Any) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        else:
            parts.append(message.get("body", b""))

    try:
        await app(_scope(path), receive, send)
    except Exception:
        if not status:
            raise
        logger.debug("The failure of a route, which its answer tells and the log has", exc_info=True)
    return status, b"".join(parts)


def _scope(path: str) -> dict[str, Any]:
    key = envs.VLLM_API_KEY  # who starts the batch owns the engine: a key meant for servers opens it
    headers = [(b"content-type", b"application/json")]
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": headers + ([(b"authorization", f"Bearer {key}".encode())] if key else []),
        "client": None,
        "server": None,
    }
