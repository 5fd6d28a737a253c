"""Every way to ask completions and chats for what cannot be: status, type and param as clients of vLLM know them; and what is let pass."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from core.tests.serving.in_process import Served

COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"
HELLO = [{"role": "user", "content": "Hello"}]
TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
CONTEXT = 512
VOCABULARY = 2048


@dataclass(frozen=True)
class Case:
    """What is asked, and how it is answered."""

    name: str
    path: str = COMPLETIONS
    body: dict[str, Any] = field(default_factory=dict)
    status: int = 400
    param: str | None = None
    words: str = ""


def _c(name: str, param: str | None, words: str = "", *, status: int = 400, **body: Any) -> Case:
    return Case(name, COMPLETIONS, {"prompt": "Hello", **body}, status, param, words)


def _m(name: str, param: str | None, words: str = "", *, status: int = 400, **body: Any) -> Case:
    return Case(name, CHAT, {"messages": HELLO, **body}, status, param, words)


def _structured(name: str, value: dict[str, Any], param: str) -> Case:
    return _c(name, param, structured_outputs=value)


REFUSED = [
    _c("unknown model", "model", "The model `x` does not exist.", status=404, model="x"),
    _m("unknown model", "model", "The model `x` does not exist.", status=404, model="x"),
    # -- prompts
    _c(
        "too long",
        "input_tokens",
        "maximum context length is 512 tokens. However, your prompt contains",
        prompt=[5] * 513,
    ),
    _c("too long, streamed", "input_tokens", "maximum context length", prompt=[5] * 513, stream=True),
    _m("too long", "input_tokens", "maximum context length", messages=[{"role": "user", "content": "word " * 900}]),
    _c("fills the context", "max_tokens", "must be at least 1, got 0", prompt=[5] * CONTEXT),
    _c("more tokens than the context", "max_tokens", max_tokens=CONTEXT + 1),
    _m("more tokens than the context", "max_tokens", max_completion_tokens=CONTEXT + 1),
    _c("no tokens", "max_tokens", "at least 1", max_tokens=0),
    _c("empty text", "prompt", prompt=""),
    _c("empty list", "prompt", prompt=[]),
    _c("list of an empty list", "prompt", prompt=[[]]),
    _c("no prompt", "prompt", prompt=None),
    _c("prompt of another type", "body.prompt", prompt={"a": 1}),
    _c("too many prompts", "prompt", "1025 prompts", prompt=["a"] * 1025),
    _c("id out of vocabulary", "prompt_token_ids", "Token id 2053 is out of vocabulary", prompt=[5, 2053]),
    _c("negative id", "prompt_token_ids", prompt=[5, -1]),
    _c("embeddings", "prompt_embeds", prompt_embeds="AAAA"),
    _c("suffix", "suffix", suffix="the end"),
    _c("empty salt", "cache_salt", cache_salt=""),
    _c("long salt", "cache_salt", cache_salt="x" * 129),
    _m("empty salt", "cache_salt", cache_salt=""),
    # -- sampling
    _c("too hot", "temperature", temperature=2.5),
    _c("NaN temperature", "temperature", temperature=float("nan")),
    _c("words as temperature", "body.temperature", temperature="hot"),
    _c("top_p 0", "top_p", top_p=0),
    _c("penalty", "presence_penalty", presence_penalty=2.1),
    _c("n with greedy", "n", n=2, temperature=0),
    _c("n", "n", n=0),
    _c("n times prompts", "n", "sequences", n=1000, prompt=["a"] * 17),
    _c("five stops", "stop", stop=list("abcde")),
    _c("empty stop", "stop[0]", stop=[""]),
    _c("min above max", "min_tokens", max_tokens=4, min_tokens=5),
    _c("bias out of vocabulary", "logit_bias", logit_bias={str(VOCABULARY): 1}),
    _c("bias of a word", "logit_bias key", logit_bias={"word": 1}),
    _c("stop id out of vocabulary", "stop_token_ids", stop_token_ids=[VOCABULARY]),
    _c("allowed id out of vocabulary", "allowed_token_ids", allowed_token_ids=[VOCABULARY]),
    _c("nothing allowed", "allowed_token_ids", allowed_token_ids=[]),
    _c("logprobs", "logprobs", "max-logprobs", logprobs=21),
    _m("logprobs", "logprobs", "max-logprobs", logprobs=True, top_logprobs=21),
    _m("top_logprobs alone", "top_logprobs", top_logprobs=2),
    _c("prompt_logprobs streamed", "prompt_logprobs", prompt_logprobs=1, stream=True),
    _c("stream_options alone", "stream_options", stream_options={"include_usage": True}),
    _m("stream_options alone", "stream_options", stream_options={"include_usage": True}),
    _c("beams of a form", "structured_outputs", use_beam_search=True, structured_outputs={"choice": ["a"]}),
    _c("beams with echoed logprobs", "prompt_logprobs", use_beam_search=True, echo=True, logprobs=1),
    _c("too many beams", "logprobs", use_beam_search=True, n=11),
    _c("no beam", "beam_width", use_beam_search=True, n=0),
    _c("beams streamed", "use_beam_search", use_beam_search=True, stream=True),
    _c("truncation to nothing", "truncate_prompt_tokens", truncate_prompt_tokens=0),
    # -- the form of the output
    _structured("two forms", {"regex": "a", "choice": ["a"]}, "structured_outputs"),
    _structured("no form", {}, "structured_outputs"),
    _structured("unknown form", {"shape": "round"}, "structured_outputs"),
    _structured("empty choice", {"choice": []}, "structured_outputs.choice"),
    _structured("bad regex", {"regex": "("}, "structured_outputs.regex"),
    _structured("bad grammar", {"grammar": "root ::= ("}, "structured_outputs.grammar"),
    _structured("schema that is no JSON", {"json": "{"}, "structured_outputs.json"),
    _structured("unknown type", {"json": {"type": "colour"}}, "structured_outputs.json"),
    _structured("reference into nothing", {"json": {"$ref": "#/$defs/none"}}, "structured_outputs.json"),
    _structured(
        "keyword that cannot be kept", {"json": {"type": "array", "uniqueItems": True}}, "structured_outputs.json"
    ),
    _c("form of no type", "body.response_format.type", response_format={}),
    _c("form of unknown type", "body.response_format.type", response_format={"type": "xml"}),
    _c("json_schema without one", "response_format", response_format={"type": "json_schema"}),
    _m("json_schema without one", "response_format", response_format={"type": "json_schema"}),
    _c("structural tag", "response_format", response_format={"type": "structural_tag"}),
    # -- chats
    _m("no messages", "messages", messages=[]),
    _m("messages missing", "body.messages", messages=None),
    _m("message without role", "messages[0].role", messages=[{"content": "Hello"}]),
    _m("image", "messages[0].content[0]", "is not a multimodal model", messages=[{"role": "user", "content": [IMAGE]}]),
    _m("template", "chat_template", "--trust-request-chat-template", chat_template="{{ 1 }}"),
    _m("template among the kwargs", "chat_template", chat_template_kwargs={"chat_template": "{{ 1 }}"}),
    _m("continue and begin", "continue_final_message", continue_final_message=True, add_generation_prompt=True),
    _m("no tools", "tools", tools=[]),
    _m("auto without parser", "tool_choice", "--tool-call-parser", tools=[TOOL]),
    _m("required without parser", "tool_choice", "--tool-call-parser", tools=[TOOL], tool_choice="required"),
    _m("named without parser", "tool_choice", "--tool-call-parser", tools=[TOOL], tool_choice=TOOL),
    _m("choice without tools", "tool_choice", tool_choice="auto"),
    _m("unknown choice", "body.tool_choice", tools=[TOOL], tool_choice="perhaps"),
]

SERVED = [
    _c("no model", None, status=200, model=None),
    _c("empty model", None, status=200, model=""),
    _c("second name", None, status=200, model="other-name"),
    _c("several, one empty", None, status=200, prompt=[""]),
    _c("clamped", None, status=200, prompt=[5] * 500, max_tokens=CONTEXT, ignore_eos=True),
    _c("unknown field", None, status=200, colour="red"),
    _c("best_of", None, status=200, best_of=3),
    _c("guided_json", None, status=200, guided_json={"type": "object"}),
    _c("priority", None, status=200, priority=7),
    _c("numbers as text", None, status=200, temperature="0.5", max_tokens="3"),
    _c("text form", None, status=200, response_format={"type": "text"}),
    _c("truncated", None, status=200, prompt=[5] * 600, truncate_prompt_tokens=20),
    _m("unknown role", None, status=200, messages=[{"role": "narrator", "content": "Once"}]),
    _m("without content", None, status=200, messages=[{"role": "user"}]),
    _m("parts", None, status=200, messages=[{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]),
    _m("tools that are not to be used", None, status=200, tools=[TOOL], tool_choice="none"),
    _m("logprobs without top", None, status=200, logprobs=True),
]


def _id(case: Case) -> str:
    return f"{'chat' if case.path == CHAT else 'completion'}: {case.name}"


@pytest.mark.parametrize("case", REFUSED, ids=_id)
def test_refused(inside: Served, case: Case) -> None:
    answer = inside.run(
        inside.http.post(case.path, content=json.dumps(case.body), headers={"Content-Type": "application/json"})
    )
    error = answer.json()["error"]
    kind = {404: "NotFoundError"}.get(case.status, "BadRequestError")
    wanted_kind = "Bad Request" if str(case.param).startswith("body") else kind
    assert (answer.status_code, error["param"], error["type"]) == (case.status, case.param, wanted_kind), error
    assert error["code"] == case.status
    assert case.words in error["message"]
    assert "Traceback" not in error["message"] and "/src/" not in error["message"]


@pytest.mark.parametrize("case", SERVED, ids=_id)
def test_served(inside: Served, case: Case) -> None:
    answer = inside.post(case.path, {"max_tokens": 2, **case.body})
    assert answer.status_code == 200, answer.text
    assert answer.json()["choices"][0]["finish_reason"] in ("length", "stop")


@pytest.mark.parametrize("form", ["json", "regex", "choice", "grammar"])
def test_an_old_name_of_a_form_is_told_once(
    inside: Served, form: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In large bodies too, and not where it is null."""
    monkeypatch.setattr("vllm.logger._said_once", set())  # other tests say it too
    bodies: list[dict[str, Any]] = [
        {},
        {f"guided_{form}": "x"},
        {f"guided_{form}": None},
        {f"guided_{form}": "x" * 70_000},
    ]
    told = [_told_by(inside, body, capsys) for body in bodies]
    words = f'`guided_{form}`, which has no effect: write `structured_outputs: {{"{form}": ...}}` instead.'
    assert [words in each for each in told] == [False, True, False, False]
    monkeypatch.setattr("vllm.logger._said_once", set())
    assert words in _told_by(inside, bodies[3], capsys)


def _told_by(inside: Served, body: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> str:
    """What the log says while it is answered."""
    assert inside.post(COMPLETIONS, {"prompt": "Hello", "max_tokens": 1, **body}).status_code == 200
    return capsys.readouterr().err


@pytest.mark.parametrize("path", [COMPLETIONS, CHAT])
@pytest.mark.parametrize(
    ("content", "kind"),
    [("{", "application/json"), ("", "application/json"), ("[1]", "application/json"), ("a=1", "text/plain")],
    ids=["no JSON", "nothing", "no object", "another type"],
)
def test_unreadable_bodies(inside: Served, path: str, content: str, kind: str) -> None:
    answer = inside.run(inside.http.post(path, content=content, headers={"Content-Type": kind}))
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "Bad Request"


@pytest.mark.parametrize("field_name", ["prompt", "model", "stop", "cache_salt", "user"])
def test_half_a_surrogate_pair_is_no_text(inside: Served, field_name: str) -> None:
    body = json.dumps({"prompt": "Hello", field_name: "\ud800"})
    answer = inside.run(inside.http.post(COMPLETIONS, content=body, headers={"Content-Type": "application/json"}))
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "body")
    assert inside.post(COMPLETIONS, {"prompt": "\U0001f600", "max_tokens": 1}).status_code == 200  # a whole pair


@pytest.mark.parametrize("number", [2**70, -(2**70), 2**63])
def test_numbers_that_no_message_holds(inside: Served, number: int) -> None:
    for name in ("seed", "priority", "top_k", "n", "max_tokens", "min_tokens", "logprobs", "prompt_logprobs"):
        answer = inside.post(COMPLETIONS, {"prompt": "Hello", "max_tokens": 1, name: number})
        assert answer.status_code == 400, (name, answer.text)
    assert inside.post(COMPLETIONS, {"prompt": [number]}).status_code == 400
