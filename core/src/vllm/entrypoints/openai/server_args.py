"""Owns what users may say about the server itself: address, access, limits, templates, logs. The engine's options are EngineArgs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from vllm.config.option_kinds import SWITCH, Kind, choice, dotted, mapping, real, repeated, several, text, whole
from vllm.config.options import option, read_options

__all__ = ["ServerArgs"]

_ADDRESS, _ACCESS, _CHAT, _LOGS, _LIMITS = "Address", "Access", "Chat", "Logs", "Limits"


def _words(value: Any) -> tuple[str, ...]:
    return tuple(_each_word(value))


def _each_word(value: Any) -> Iterator[str]:
    """Texts, JSON lists of texts, and lists of either."""
    if isinstance(value, str) and value.startswith("["):
        value = json.loads(value)
    if isinstance(value, str) and value:
        yield value
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for one in value:
            yield from _each_word(one)
    else:
        raise TypeError


_NAMES = Kind("texts, or a JSON list of them", "NAME", _words, arity="many")
_FILE = text("a file", "FILE")
_LOG_LEVELS = choice("critical", "error", "warning", "info", "debug", "trace")


@dataclass(kw_only=True)
class ServerArgs:
    """The options of `vllm serve` beside the engine's."""

    # -- where it listens -----------------------------------------------------------------------------------------------------
    host: str | None = option(
        None, text(placeholder="HOST"), "Address to listen on.", group=_ADDRESS, common=True, default_words="every one"
    )
    port: int = option(
        8000, whole(at_least=0, at_most=65535), "Port to listen on; 0 takes a free one.", group=_ADDRESS, common=True
    )
    uds: str | None = option(
        None, text(placeholder="PATH"), "Unix domain socket to listen on, instead of host and port.", group=_ADDRESS
    )
    root_path: str | None = option(
        None, text(placeholder="PATH"), "Path under which a proxy shows the server.", group=_ADDRESS
    )
    ssl_keyfile: str | None = option(None, _FILE, "Key of the TLS certificate.", group=_ADDRESS)
    ssl_certfile: str | None = option(None, _FILE, "TLS certificate: the server speaks HTTPS.", group=_ADDRESS)
    ssl_ca_certs: str | None = option(None, _FILE, "Certificates that clients' own must go back to.", group=_ADDRESS)
    ssl_cert_reqs: int = option(
        0,
        whole(at_least=0, at_most=2),
        "Whether clients need a certificate: 0 no, 1 it is checked if there is one, 2 yes.",
        group=_ADDRESS,
    )
    ssl_ciphers: str | None = option(None, text(), "Ciphers of TLS 1.2, as OpenSSL lists them.", group=_ADDRESS)

    # -- who may ask ----------------------------------------------------------------------------------------------------------
    api_key: tuple[str, ...] | None = option(
        None,
        several(text(), "one or more texts"),
        "Keys, one of which a request must show; VLLM_API_KEY gives one too.",
        group=_ACCESS,
        common=True,
    )
    allowed_origins: tuple[str, ...] = option(
        ("*",), _NAMES, "Origins of pages that may ask (CORS).", group=_ACCESS, default_words="every one"
    )
    allowed_methods: tuple[str, ...] = option(
        ("*",), _NAMES, "Methods that such pages may use.", group=_ACCESS, default_words="every one"
    )
    allowed_headers: tuple[str, ...] = option(
        ("*",), _NAMES, "Headers that such pages may send.", group=_ACCESS, default_words="every one"
    )
    allow_credentials: bool = option(False, SWITCH, "Let such pages send cookies.", group=_ACCESS)
    middleware: tuple[str, ...] = option(
        (),
        repeated(dotted("the dotted path of an ASGI middleware class, or of an async function (request, call_next)")),
        "Another ASGI middleware; may be given several times.",
        group=_ACCESS,
        default_words="none",
    )
    disable_fastapi_docs: bool = option(False, SWITCH, "No /docs, /redoc and /openapi.json.", group=_ACCESS)

    # -- chat -----------------------------------------------------------------------------------------------------------------
    chat_template_content_format: str = option(
        "auto", choice("auto", "string", "openai"), "What templates get as a message's content.", group=_CHAT
    )
    trust_request_chat_template: bool = option(
        False, SWITCH, "Let requests bring chat templates, which are programs.", group=_CHAT
    )
    default_chat_template_kwargs: dict[str, Any] | None = option(
        None, mapping(), "What chat templates get beside what a request gives them.", group=_CHAT
    )
    response_role: str = option("assistant", text(), "Role of the messages that are generated.", group=_CHAT)
    enable_auto_tool_choice: bool = option(False, SWITCH, "Let the model choose to call tools.", group=_CHAT)
    tool_call_parser: str | None = option(
        None, text("a tool parser's name", "NAME"), "Who finds tool calls in the text.", group=_CHAT
    )
    tool_parser_plugin: str | None = option(
        None, _FILE, "Python file that registers tool parsers of your own.", group=_CHAT
    )
    exclude_tools_when_tool_choice_none: bool = option(
        False, SWITCH, "With tool_choice none, do not show tools to the template.", group=_CHAT
    )
    reasoning_parser: str | None = option(
        None, text("a reasoning parser's name", "NAME"), "Who parts the reasoning from the answer.", group=_CHAT
    )
    reasoning_parser_plugin: str | None = option(
        None, _FILE, "Python file that registers reasoning parsers of your own.", group=_CHAT
    )

    # -- what answers carry ---------------------------------------------------------------------------------------------------
    return_tokens_as_token_ids: bool = option(
        False, SWITCH, "In logprobs show tokens as `token_id:N`, which no two tokens share.", group=_CHAT
    )
    enable_prompt_tokens_details: bool = option(False, SWITCH, "Tell cached prompt tokens in usage.", group=_CHAT)
    enable_force_include_usage: bool = option(False, SWITCH, "Tell usage in every stream.", group=_CHAT)
    enable_request_id_headers: bool = option(False, SWITCH, "Answer with X-Request-Id.", group=_CHAT)
    enable_tokenizer_info_endpoint: bool = option(False, SWITCH, "Serve /tokenizer_info.", group=_CHAT)

    # -- what is logged -------------------------------------------------------------------------------------------------------
    enable_log_requests: bool = option(False, SWITCH, "Log every request's prompt and parameters.", group=_LOGS)
    max_log_len: int | None = option(
        None, whole(at_least=0), "Most characters of a prompt that are logged.", group=_LOGS, default_words="all"
    )
    uvicorn_log_level: str = option("info", _LOG_LEVELS, "Least severe level of uvicorn that is logged.", group=_LOGS)
    disable_uvicorn_access_log: bool = option(False, SWITCH, "Do not log every HTTP answer.", group=_LOGS)
    enable_server_load_tracking: bool = option(False, SWITCH, "Count requests under way for /load.", group=_LOGS)

    otlp_traces_endpoint: str | None = option(
        None,
        text("an address", "URL"),
        "Where a span per request is sent, by OpenTelemetry's protocol OTLP.",
        group=_LOGS,
    )

    # -- limits and ends ------------------------------------------------------------------------------------------------------
    max_request_body_bytes: int = option(
        32 << 20, whole(at_least=1024, human=True), "Larger request bodies are refused.", group=_LIMITS
    )
    shutdown_timeout: float = option(
        0.0,
        real(above=0, or_equal=True),
        "Seconds that running requests have left at SIGTERM and SIGINT.",
        group=_LIMITS,
    )
    restart_engine: int = option(
        0, whole(at_least=0), "How often an engine core that died is started again.", group=_LIMITS
    )

    def __post_init__(self) -> None:
        read_options(self)
