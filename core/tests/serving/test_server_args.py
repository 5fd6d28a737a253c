"""The server's options: read from every spelling, and known to the engine's as not theirs."""

from __future__ import annotations

from typing import Any

import pytest

from vllm.config.absent_options import ABSENT, OF_THE_SERVER
from vllm.config.engine_args import EngineArgs
from vllm.config.options import options_of
from vllm.entrypoints.cli.serve import add_parser
from vllm.entrypoints.openai.server_args import ServerArgs
from vllm.errors import ConfigError

OPTIONS = options_of(ServerArgs)


def test_the_engine_knows_which_options_are_the_servers() -> None:
    assert set(OPTIONS) == OF_THE_SERVER
    assert not set(OPTIONS) & {*options_of(EngineArgs), *ABSENT}
    with pytest.raises(ConfigError, match="port belongs to the HTTP server: only `vllm serve` has it"):
        EngineArgs.from_kwargs({"port": 8000})


@pytest.mark.parametrize("name", OPTIONS)
def test_every_default_is_a_value_that_the_option_takes(name: str) -> None:
    assert OPTIONS[name].read(OPTIONS[name].default) == OPTIONS[name].default


@pytest.mark.parametrize(
    "given, meant",
    [
        ({"allowed_origins": '["a", "b"]'}, ("a", "b")),
        ({"allowed_origins": ["a", '["b"]']}, ("a", "b")),
        ({"api_key": "k"}, ("k",)),
        ({"api_key": ["k", "l"]}, ("k", "l")),
        ({"middleware": "a.b"}, ("a.b",)),
        ({"max_request_body_bytes": "2m"}, 2_000_000),
        ({"shutdown_timeout": "1.5"}, 1.5),
        ({"uvicorn_log_level": "debug"}, "debug"),
        ({"default_chat_template_kwargs": '{"a": 1}'}, {"a": 1}),
    ],
)
def test_what_is_meant(given: dict[str, Any], meant: Any) -> None:
    (name,) = given
    assert getattr(ServerArgs(**given), name) == meant


@pytest.mark.parametrize(
    "given, words",
    [
        ({"port": 70000}, r"port \(--port\) is 70000, but it must be a whole number from 0 to 65535"),
        ({"allowed_origins": 3}, "texts, or a JSON list of them"),
        ({"allowed_origins": "[1"}, "texts, or a JSON list of them"),
        ({"middleware": "Name"}, "dotted path"),
        ({"uvicorn_log_level": "debgu"}, "Did you mean: debug"),
        ({"shutdown_timeout": -1}, "a number >= 0"),
    ],
)
def test_what_cannot_be_meant(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        ServerArgs(**given)


def test_the_command_has_all_of_them() -> None:
    import argparse

    parsers = argparse.ArgumentParser(prog="vllm").add_subparsers()
    add_parser(parsers)
    known = {flag for action in parsers.choices["serve"]._actions for flag in action.option_strings}
    assert {flag for one in (*OPTIONS.values(), *options_of(EngineArgs).values()) for flag in one.flags} <= known
