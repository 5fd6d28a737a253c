"""Owns requests to a server: random ones (every route that generates, every kind of parameter, short and long, and some that are wrong),
and quick ones that fill what it keeps up to a bound.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

__all__ = ["Asked", "any_request", "fillers", "one_of_each"]

Body = dict[str, Any]
_SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 8}, "age": {"type": "integer"}},
    "required": ["city", "age"],
}
_TOOL = {"type": "function", "function": {"name": "weather", "parameters": _SCHEMA}}
_FILLING_GRAMMARS = 3000
"""Different ones. The server keeps 1,024 verdicts; each of its two helpers, and the engine, 256 compiled, and stops growing after some
thousand."""
_FILLING_RESPONSES = 1100
"""The server keeps 1,000, as long as those that come later: they replace them."""
_FILLING_PROMPTS, _FILLING_TOKENS = 32, 1000
"""More than the KV cache of the soak's server holds."""
_WORDS = ["Count", "Hello", "the", "a", "of", "17", "18", "and", "to", "é", "你好", "🙂", "weather", "in", "\n"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """One request."""

    kind: str
    path: str
    body: bytes
    is_good: bool = True
    """Whether it deserves status 200; else 4xx."""
    is_stream: bool = False


def any_request(chance: random.Random) -> Asked:
    """One of all kinds."""
    make = chance.choices(list(_KINDS), weights=list(_KINDS.values()))[0]
    return make(chance)


def one_of_each(chance: random.Random) -> list[Asked]:
    """One of each kind."""
    return [make(chance) for make in _KINDS]


def fillers(chance: random.Random) -> Iterator[Asked]:
    """What fills every bounded place of a server once: nothing of it comes again, so that nothing is found there already."""
    yield from (_token_prompt(chance) for _ in range(_FILLING_PROMPTS))
    for number in range(_FILLING_GRAMMARS):
        yield _new_grammar(10_000 + number)
        if number < _FILLING_RESPONSES:
            yield _responses(chance)


def _token_prompt(chance: random.Random) -> Asked:
    ids = chance.choices(range(10, 1000), k=_FILLING_TOKENS)
    return _asked("filling", "/v1/completions", {"prompt": ids, "max_tokens": 1})


def _new_grammar(number: int) -> Asked:
    """Of the forms that `_structured` makes new each time."""
    forms: list[Body] = [
        {"json": _SCHEMA | {"title": str(number)}},
        {"choice": ["yes", "no", str(number)]},
    ]
    form = forms[number % len(forms)]
    return _asked(
        "filling", "/v1/completions", {"prompt": "Hello", "max_tokens": 1, "structured_outputs": form, "temperature": 0}
    )


def _asked(kind: str, path: str, body: Body) -> Asked:
    return Asked(kind=kind, path=path, body=json.dumps(body).encode(), is_stream=bool(body.get("stream")))


def _text(chance: random.Random) -> str:
    """Mostly short, sometimes some hundred tokens; beginnings repeat, so that the prefix cache has work."""
    words = chance.choice([3, 3, 10, 30, 150])
    return "Count: 1 2 3 " * chance.choice([0, 1, 20]) + " ".join(chance.choices(_WORDS, k=words))


def _sampling(chance: random.Random) -> Body:
    body: Body = {
        "max_tokens": chance.choice([1, 8, 16, 32, 32, 200, 600]),
        "temperature": chance.choice([0, 0, 0.7, 1.5]),
    }
    optional: list[Body] = [
        {"seed": chance.randrange(1000)},
        {"n": chance.choice([2, 3]), "temperature": 1.0},
        {"stop": [" 2", "a", "\n"]},
        {"ignore_eos": True},
        {"top_k": 5, "min_p": 0.1},
        {"top_p": 0.9, "repetition_penalty": 1.1},
        {"presence_penalty": 0.5, "logit_bias": {"5": 3.0}},
        {"min_tokens": 1, "return_token_ids": True},
        {"cache_salt": str(chance.randrange(5))},
    ]
    for more in chance.sample(optional, chance.choice([0, 1, 1, 2, 3])):
        body |= more
    if chance.random() < 0.6:
        body |= {"stream": True} | chance.choice([{}, {"stream_options": {"include_usage": True}}])
    return body


def _completion(chance: random.Random) -> Asked:
    body = _sampling(chance) | {"prompt": chance.choice([_text(chance), _text(chance), [_text(chance), _text(chance)]])}
    if chance.random() < 0.3:
        body["logprobs"] = chance.choice([0, 5])
    if chance.random() < 0.1 and "stream" not in body:
        body |= {"echo": True, "prompt_logprobs": 2}
    return _asked("completion", "/v1/completions", body)


def _chat_body(chance: random.Random) -> Body:
    return _sampling(chance) | {"messages": [{"role": "user", "content": _text(chance)}]}


def _chat(chance: random.Random) -> Asked:
    body = _chat_body(chance)
    if chance.random() < 0.3:
        body |= {"logprobs": True, "top_logprobs": 3}
    return _asked("chat", "/v1/chat/completions", body)


def _structured(chance: random.Random) -> Asked:
    """Some grammars are new each time: what is compiled must not be kept without end."""
    schema = _SCHEMA | {"title": str(chance.randrange(10_000))}
    wanted: list[Body] = [
        {"structured_outputs": {"json": schema}},
        {"structured_outputs": {"regex": f"[a-z]{{{chance.randrange(2, 30)}}}"}},
        {"structured_outputs": {"choice": ["yes", "no", str(chance.randrange(10_000))]}},
        {"response_format": {"type": "json_object"}},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}},
    ]
    return _asked("structured", "/v1/chat/completions", _chat_body(chance) | chance.choice(wanted))


def _tools(chance: random.Random) -> Asked:
    named = {"type": "function", "function": {"name": "weather"}}
    body = _chat_body(chance) | {"tools": [_TOOL], "tool_choice": chance.choice(["auto", "required", named])}
    return _asked("tools", "/v1/chat/completions", body)


def _other_apis(chance: random.Random) -> Asked:
    return chance.choice([_responses, _messages])(chance)


def _responses(chance: random.Random) -> Asked:
    body: Body = {"input": _text(chance), "max_output_tokens": chance.choice([8, 64]), "stream": chance.random() < 0.5}
    return _asked("responses", "/v1/responses", body)


def _messages(chance: random.Random) -> Asked:
    messages = [{"role": "user", "content": _text(chance)}]
    body: Body = {"messages": messages, "max_tokens": chance.choice([8, 64]), "stream": chance.random() < 0.5}
    return _asked("messages", "/v1/messages", body)


def _tokenize(chance: random.Random) -> Asked:
    return _asked("tokenize", "/tokenize", {"prompt": _text(chance) * chance.choice([1, 1, 50])})


def _wrong(chance: random.Random) -> Asked:
    """Bodies that nobody can answer."""
    hello: Body = {"prompt": "Hello"}
    wrong: list[bytes | Body] = [
        b'{"prompt": "Hello"',
        b"[]",
        b"\xff\xfe",
        hello | {"temperature": -1},
        hello | {"model": "of-another-server"},
        hello | {"max_tokens": 10**9},
        hello | {"prompt": "Count " * 5000},
        hello | {"prompt": [10**6]},
        hello | {"structured_outputs": {"regex": "("}},
        hello | {"logprobs": 1000},
        hello | {"n": -3, "stream": True},
        hello | {"stream_options": {"include_usage": True}},
    ]
    chosen = chance.choice(wrong)
    data = chosen if isinstance(chosen, bytes) else json.dumps(chosen).encode()
    return Asked(kind="wrong", path="/v1/completions", body=data, is_good=False)


_KINDS: dict[Callable[[random.Random], Asked], float] = {
    _completion: 30,
    _chat: 25,
    _structured: 12,
    _tools: 8,
    _other_apis: 10,
    _tokenize: 5,
    _wrong: 10,
}
"""Kind -> how often."""
