"""Owns what `vllm chat` and `vllm complete` share: which server they talk to, how, and how its text reaches the terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from vllm.config.option_kinds import NUMBER, SWITCH, text, whole
from vllm.config.options import option, read_options
from vllm.entrypoints.cli.answer_printer import AnswerPrinter, Piece

if TYPE_CHECKING:
    from vllm.entrypoints.client.api import ApiClient

__all__ = ["ClientOptions", "TalkingServer", "prompts_typed"]

_SERVER, _TEXT = "Server", "Text"
T = TypeVar("T")


@dataclass(kw_only=True)
class ClientOptions:
    """Options of both commands. None = what the server does by itself."""

    url: str = option(
        "http://localhost:8000/v1", text(placeholder="URL"), "Address of the API.", group=_SERVER, common=True
    )
    model_name: str | None = option(
        None,
        text(placeholder="NAME"),
        "Model to ask.",
        group=_SERVER,
        common=True,
        default_words="the first that the server names",
    )
    api_key: str | None = option(
        None, text(placeholder="KEY"), "Key of the server.", group=_SERVER, common=True, default_words="OPENAI_API_KEY"
    )
    quick: str | None = option(
        None, text(), "Ask this, print the answer, and end.", group=_TEXT, short="-q", common=True
    )
    stream: bool = option(True, SWITCH, "Print the answer while it is generated.", group=_TEXT, common=True)
    max_tokens: int | None = option(
        None, whole(at_least=1, human=True), "Most tokens of an answer.", group=_TEXT, common=True
    )
    temperature: float | None = option(None, NUMBER, "0 takes the most likely token each time.", group=_TEXT)

    def __post_init__(self) -> None:
        read_options(self)
        self.api_key = self.api_key or os.environ.get("OPENAI_API_KEY") or None

    def body(self, **more: Any) -> dict[str, Any]:
        """A request's fields: those that were given, and `more`."""
        given = {"max_tokens": self.max_tokens, "temperature": self.temperature, "stream": self.stream}
        return {name: value for name, value in (given | more).items() if value is not None}


class TalkingServer:
    """A server, asked one thing after the other. Each question is an event loop of its own, so that Ctrl-C ends the question."""

    def __init__(self, options: ClientOptions) -> None:
        """Finds out what is served. Raises ServerError and ConfigError."""
        self._options = options
        self.model = self._run(self._find_model)

    def answer(self, path: str, body: dict[str, Any], piece_of: Callable[[Any], Piece]) -> str:
        """Print the answer as it comes, and give its text. `piece_of` takes what is new out of a choice."""

        async def printed(client: ApiClient) -> str:
            printer = AnswerPrinter()
            async for choice in _choices(client, path, {"model": self.model, **body}):
                printer.add(piece_of(choice))
            return printer.end()

        return self._run(printed)

    def _run(self, story: Callable[[ApiClient], Coroutine[Any, Any, T]]) -> T:
        import asyncio

        from vllm.entrypoints.client.api import ApiClient

        async def told() -> T:
            client = ApiClient(self._options.url, self._options.api_key)
            try:
                return await story(client)
            finally:
                client.close()

        return asyncio.run(told())

    async def _find_model(self, client: ApiClient) -> str:
        return self._options.model_name or await client.first_model("/models")


async def _choices(client: ApiClient, path: str, body: dict[str, Any]) -> AsyncGenerator[Any, None]:
    """The first choice, whole or as it comes."""
    from contextlib import aclosing

    import msgspec

    from vllm.entrypoints.client.api import raise_error_in

    if not body["stream"]:
        yield (await client.post(path, body))["choices"][0]
        return
    async with aclosing(client.events(path, msgspec.json.encode(body))) as events:
        async for data in events:
            chunk = msgspec.json.decode(data)
            raise_error_in(chunk)
            for choice in chunk["choices"]:
                yield choice


def prompts_typed(options: ClientOptions, answer: Callable[[str], object]) -> int:
    """Answer --quick, or what is typed until the end of the input; gives the exit status."""
    if options.quick is not None:
        answer(options.quick)
        return 0
    for line in _typed():
        if line.strip():
            answer(line)
    return 0


def _typed() -> Iterator[str]:
    """Lines of standard input. The sign that asks for one is for terminals: what is piped stays clean."""
    if not sys.stdin.isatty():
        yield from (line.rstrip("\n") for line in sys.stdin)
        return
    while True:
        try:
            yield input("> ")
        except EOFError:
            print()
            return
