"""Routes and middleware of the server, without sockets: keys, limits, ids, counts, and the tokenizer over HTTP."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request, Response

from core.tests.serving.in_process import Served
from vllm.engine import request_log
from vllm.entrypoints.openai import endpoint_plugins
from vllm.entrypoints.openai.api_server import build_app
from vllm.entrypoints.openai.server_args import ServerArgs
from vllm.errors import ConfigError, PluginError

HELLO = {"prompt": "Count: 1 2 3", "max_tokens": 2, "temperature": 0}


def get(server: Served, path: str, **more: Any) -> httpx.Response:
    answer: httpx.Response = server.run(server.http.get(path, **more))
    return answer


def test_what_is_served(inside: Served) -> None:
    cards = get(inside, "/v1/models").json()["data"]
    assert [(card["id"], card["root"], card["max_model_len"]) for card in cards] == [
        ("tiny", "tiny", 512),
        ("other-name", "tiny", 512),
    ]
    assert get(inside, "/v1/models/tiny").json() == {"detail": "Not Found"}
    for path in ("/health", "/ping"):
        assert (get(inside, path).status_code, get(inside, path).content) == (200, b"")
    assert inside.run(inside.http.post("/ping")).status_code == 200
    assert set(get(inside, "/version").json()) == {"version"}


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
@pytest.mark.parametrize("key", ["first", "second key", "from-environment"])
def test_a_key_opens(inside: Served, monkeypatch: pytest.MonkeyPatch, key: str, scheme: str) -> None:
    monkeypatch.setenv("VLLM_API_KEY", "from-environment")
    server = inside.with_args(api_key=["first", "second key"])
    assert get(server, "/v1/models", headers={"Authorization": f"{scheme} {key}"}).status_code == 200


@pytest.mark.parametrize("key", ["schlüssel", "ключ", "voilà"])
def test_a_key_may_hold_any_character(inside: Served, key: str) -> None:
    server = inside.with_args(api_key=["first", key])
    statuses = [
        get(server, "/v1/models", headers={"Authorization": f"Bearer {shown}".encode()}).status_code
        for shown in (key, key[:-1], f"{key}ü")
    ]
    assert statuses == [200, 401, 401]


@pytest.mark.parametrize(
    "header", [None, "Bearer", "Bearer ", "Bearer firs", "Bearer firstt", "Basic first", "first", "Bearer é"]
)
@pytest.mark.parametrize(
    "path", ["/v1/models", "/v1/completions", "/v2/rerank", "/inference/v1/generate", "/cohere/v2/chat", "/v1"]
)
def test_guarded_paths_stay_shut_without_one(inside: Served, path: str, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header.encode()}
    answer = inside.with_args(api_key=["first"]).post(path, HELLO, headers=headers)
    assert (answer.status_code, answer.json()) == (401, {"error": "Unauthorized"})


def test_a_root_path_is_no_way_around_the_key(inside: Served) -> None:
    server = inside.with_args(api_key=["first"], root_path="/llm")
    assert get(server, "/llm/v1/models").status_code == 401
    assert get(server, "/v1/models").status_code == 401
    assert get(server, "/llm/v1/models", headers={"Authorization": "Bearer first"}).status_code == 200
    assert get(server, "/llm/health").status_code == 200


@pytest.mark.parametrize("path", ["/health", "/metrics", "/version", "/ping", "/load"])
def test_probes_need_no_key(inside: Served, path: str) -> None:
    assert get(inside.with_args(api_key=["first"]), path).status_code == 200


def test_a_page_from_elsewhere_is_told_whether_it_may_ask(inside: Served) -> None:
    asking = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}
    server = inside.with_args(allowed_origins='["https://a.example"]', api_key=["first"])
    asked = server.run(server.http.options("/v1/completions", headers=asking))
    assert (asked.status_code, asked.headers["access-control-allow-origin"]) == (200, "https://a.example")
    stranger = server.run(server.http.options("/v1/completions", headers=asking | {"Origin": "https://b.example"}))
    assert "access-control-allow-origin" not in stranger.headers
    refused = get(server, "/v1/models", headers={"Origin": "https://a.example"})
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, "https://a.example")


@pytest.mark.parametrize("declares", [True, False])
def test_a_body_that_is_too_long(inside: Served, declares: bool) -> None:
    async def pieces() -> Any:
        for _ in range(4):
            yield b" " * 512

    server = inside.with_args(max_request_body_bytes=1024)
    answer = server.run(server.http.post("/v1/completions", content=b" " * 2048 if declares else pieces()))
    assert (answer.status_code, answer.json()["error"]["type"]) == (413, "RequestTooLargeError")
    assert "1024 bytes" in answer.json()["error"]["message"]
    assert server.post("/v1/completions", HELLO).status_code == 200


@pytest.mark.parametrize(
    "path", ["/v1/completions", "/v1/chat/completions", "/tokenize", "/detokenize", "/invocations"]
)
@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"a":' * 100_000, b"{", b"", b"[]", b"null", b'"x"', b"\xff\xfe"])
def test_a_body_that_is_none_is_the_clients_mistake(inside: Served, path: str, body: bytes) -> None:
    answer = inside.run(inside.http.post(path, content=body, headers={"content-type": "application/json"}))
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == 400


def test_request_ids(inside: Served) -> None:
    server = inside.with_args(enable_request_id_headers=True)
    assert server.post("/v1/completions", HELLO, headers={"X-Request-Id": "mine"}).headers["x-request-id"] == "mine"
    answer = server.post("/v1/completions", HELLO)
    assert answer.json()["id"] == f"cmpl-{answer.headers['x-request-id']}"
    assert "x-request-id" not in inside.post("/v1/completions", HELLO).headers


def test_load_counts_what_is_under_way(inside: Served) -> None:
    server = inside.with_args(enable_server_load_tracking=True)

    async def story() -> tuple[int, int]:
        working = asyncio.create_task(
            server.http.post("/v1/completions", json=HELLO | {"max_tokens": 300, "ignore_eos": True})
        )
        while inside.engine.num_unfinished_requests == 0:
            await asyncio.sleep(0)
        during = (await server.http.get("/load")).json()["server_load"]
        await working
        return during, (await server.http.get("/load")).json()["server_load"]

    assert server.run(story()) == (1, 0)


def test_answers_are_counted_by_route(inside: Served) -> None:
    server = inside.with_args()
    server.post("/v1/completions", HELLO)
    server.post("/v1/completions", {})
    get(server, "/nowhere/at/all")
    text = get(server, "/metrics").text
    assert 'http_requests_total{handler="/v1/completions",method="POST",status="2xx"} 1.0' in text
    assert 'http_requests_total{handler="/v1/completions",method="POST",status="4xx"} 1.0' in text
    assert 'http_requests_total{handler="none",method="GET",status="4xx"} 1.0' in text
    assert 'http_request_duration_seconds_count{handler="/v1/completions",method="POST"} 2.0' in text
    assert 'handler="/metrics"' not in get(server, "/metrics").text
    assert "vllm:num_requests_running" in text


class Stamp:
    """A user's middleware as a class."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def stamped(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-stamp", b"class")]
            await send(message)

        await self.app(scope, receive, stamped)


async def stamp(request: Request, call_next: Any) -> Response:
    """The same as a function."""
    answer: Response = await call_next(request)
    answer.headers["x-stamp"] = "function"
    return answer


@pytest.mark.parametrize("name, stamped", [("Stamp", "class"), ("stamp", "function")])
def test_the_users_middleware(inside: Served, name: str, stamped: str) -> None:
    server = inside.with_args(middleware=[f"{__name__}.{name}"])
    assert get(server, "/health").headers["x-stamp"] == stamped


@pytest.mark.parametrize(
    "path, words", [("nowhere.Name", "cannot be loaded"), (f"{__name__}.HELLO", "neither a class nor")]
)
def test_a_middleware_that_is_none(inside: Served, path: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        inside.with_args(middleware=[path])


def test_a_plugin_adds_routes(inside: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def register(app: FastAPI) -> None:
        @app.get("/v1/mine")
        async def mine(request: Request) -> str:
            return str(request.app.state.server.engine.model_config.served_model_name)

    monkeypatch.setattr(endpoint_plugins, "load_plugins", lambda group: {"mine": register})
    server = inside.with_args(api_key=["first"])
    assert get(server, "/v1/mine").status_code == 401
    assert get(server, "/v1/mine", headers={"Authorization": "Bearer first"}).json() == "tiny"


def test_a_plugin_that_breaks_is_named(inside: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint_plugins, "load_plugins", lambda group: {"mine": lambda app: 1 / 0})
    with pytest.raises(PluginError, match="'mine' broke while it added its routes: ZeroDivisionError"):
        build_app(inside.engine, ServerArgs())


def test_tokenizing(inside: Served) -> None:
    answer = inside.post("/tokenize", {"prompt": "Hi there", "return_token_strs": True}).json()
    assert (answer["count"], answer["max_model_len"], answer["tokens"]) == (4, 512, [0, 43, 76, 887])
    assert answer["token_strs"] == ["<|endoftext|>", "H", "i", "Ġthere"]
    bare = inside.post("/tokenize", {"prompt": "Hi there", "add_special_tokens": False}).json()
    assert bare["tokens"] == [43, 76, 887]
    assert inside.post("/detokenize", {"tokens": [43, 76, 887]}).json() == {"prompt": "Hi there"}
    assert inside.post("/detokenize", {"tokens": []}).json() == {"prompt": ""}


def test_a_chat_is_tokenized_as_it_would_be_asked(inside: Served) -> None:
    chat = {"messages": [{"role": "user", "content": "Hello"}]}
    tokens = inside.post("/tokenize", chat).json()["tokens"]
    usage = inside.post("/v1/chat/completions", chat | {"max_tokens": 1}).json()["usage"]
    assert len(tokens) == usage["prompt_tokens"]
    shorter = inside.post("/tokenize", chat | {"add_generation_prompt": False}).json()["tokens"]
    assert tokens[: len(shorter)] == shorter != tokens


@pytest.mark.parametrize(
    "path, body, status, param",
    [
        ("/tokenize", {}, 400, "prompt"),
        ("/tokenize", {"prompt": 3}, 400, "body.prompt"),
        ("/tokenize", {"messages": 3}, 400, "body.messages"),
        ("/tokenize", {"messages": [{"role": "user"}], "tools": 3}, 400, "body.tools"),
        ("/tokenize", {"prompt": "x", "model": "nope"}, 404, "model"),
        ("/detokenize", {"tokens": [-1]}, 400, "body.tokens.0"),
        ("/detokenize", {"tokens": [2048]}, 400, "prompt_token_ids"),
        ("/detokenize", {"tokens": ["a"]}, 400, "body.tokens.0"),
        ("/invocations", {}, 400, "messages"),
        ("/invocations", {"prompt": "x", "n": "many"}, 400, "body.n"),
    ],
)
def test_wrong_questions(inside: Served, path: str, body: dict[str, Any], status: int, param: str) -> None:
    answer = inside.post(path, body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param)


def test_invocations_is_whichever_the_body_is(inside: Served) -> None:
    assert inside.post("/invocations", HELLO).json()["object"] == "text_completion"
    chat = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 2}
    assert inside.post("/invocations", chat).json()["object"] == "chat.completion"
    assert inside.post("/invocations", chat | {"stream": True}).headers["content-type"].startswith("text/event-stream")


def test_tokenizer_info_is_there_where_it_is_asked_for(inside: Served) -> None:
    assert get(inside, "/tokenizer_info").status_code == 404
    told = get(inside.with_args(enable_tokenizer_info_endpoint=True), "/tokenizer_info").json()
    assert "tokenizer_class" in told
    assert told["chat_template"]


def test_development_routes_are_there_in_development_alone(inside: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    assert get(inside, "/server_info").status_code == 404
    monkeypatch.setenv("VLLM_SERVER_DEV_MODE", "1")
    server = inside.with_args()
    assert "VllmConfig" in get(server, "/server_info").json()["vllm_config"]
    assert get(server, "/is_sleeping").json() == {"is_sleeping": False}
    assert server.post("/reset_prefix_cache", None).status_code == 200
    assert server.post("/collective_rpc", {"method": "check_health"}).json() == {"results": [None]}
    refused = server.post("/collective_rpc", {"method": "nope"})
    assert (refused.status_code, "nope" in refused.json()["error"]["message"]) == (400, True)
    asleep = server.post("/sleep", None)
    assert (asleep.status_code, "sleep" in asleep.json()["error"]["message"]) == (400, True)


def test_requests_are_logged_where_it_is_asked_for(inside: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(request_log.logger, "info", lambda text, *args: said.append(text % args))
    inside.post("/v1/completions", HELLO)
    monkeypatch.setattr(inside.engine, "request_log", request_log.RequestLog(5))
    inside.post("/v1/completions", HELLO, headers={"X-Request-Id": "mine"})
    (line,) = said
    assert line.startswith("Received request cmpl-mine")
    assert "prompt: 'Count', params: SamplingParams(" in line
    assert line.endswith("prompt_token_ids: [0, 38, 1024, 301, 29].")


def test_documentation_can_be_left_out(inside: Served) -> None:
    for path in ("/docs", "/redoc", "/openapi.json"):
        assert get(inside, path).status_code == 200
        assert get(inside.with_args(disable_fastapi_docs=True), path).status_code == 404
