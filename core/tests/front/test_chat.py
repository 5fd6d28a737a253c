"""Chat templates render as Transformers renders them; wrong messages are refused with a sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.tests.front.conftest import TINY
from vllm.errors import ConfigError, InvalidRequestError
from vllm.text.chat import as_conversations, normalise_messages, prepare_chat
from vllm.text.chat_template import load_chat_template, read_chat_template, select_chat_template
from vllm.text.tokenizer import Tokenizer, load_tokenizer

HEADERS = """{{ bos_token }}
{%- set ns = namespace(system="") %}
{%- for message in messages if message.role == "system" %}{% set ns.system = message['content'] | trim %}{% endfor %}
{{- '<|header|>system<|end|>\\n' ~ ns.system ~ '<|eot|>' }}
{%- if tools %}{{ tools | tojson(indent=2) }}{% endif %}
{%- for message in messages %}
    {%- if message.role == "system" %}{% continue %}{% endif %}
    {{- '<|header|>' + message['role'] + '<|end|>\\n\\n' + message['content'] | trim + '<|eot|>' }}
{%- endfor %}
{% if add_generation_prompt %}<|header|>assistant<|end|>

{% endif %}"""
CHATML = """{%- for message in messages %}
    {%- if message.content is string %}
        {%- set content = message.content %}
    {%- else %}
        {%- set content = '' %}
    {%- endif %}
    {%- if message.role == "assistant" %}
        {{- '<|im_start|>assistant\\n' }}{% generation %}{{- content }}{% endgeneration %}
        {%- for call in message.tool_calls or [] %}
            {{- '\\n<tool_call>\\n' ~ (call.function | tojson) ~ '\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}{% endif %}
{%- endif %}"""
INST = """{{ bos_token }}{% for message in messages %}
{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
{{ raise_exception('Roles must alternate user/assistant') }}
{% endif %}
{% if message['role'] == 'user' %}
{{ '[INST] ' + message['content'] + ' [/INST]' }}
{% elif message['role'] == 'assistant' %}
{{ message['content'] + eos_token }}
{% else %}
{{ raise_exception('Only user and assistant roles are supported!') }}
{% endif %}
{% endfor %}"""
DATED = "{{ strftime_now('%Y') }} {% for m in messages %}{{ m.content }} {% if loop.index > 1 %}{% break %}{% endif %}{% endfor %}"
TALK = [
    {"role": "user", "content": "  Grüße <b>&</b> 'x' "},
    {"role": "assistant", "content": "Hello.\n"},
    {"role": "user", "content": "Why?"},
]
TOOLS = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}]
CALL = {"function": {"name": "add", "arguments": {"a": 1}}, "id": "1", "type": "function"}


def render_chat(*args: Any, **kwargs: Any) -> str:
    return prepare_chat(*args, **kwargs).render()


@pytest.mark.parametrize("template", [HEADERS, CHATML, INST, DATED, None])
@pytest.mark.parametrize(
    "options",
    [
        {"add_generation_prompt": True},
        {"add_generation_prompt": False},
        {"add_generation_prompt": True, "tools": TOOLS},
        {"add_generation_prompt": True, "enable_thinking": False},
    ],
)
def test_rendered_as_transformers_renders(template: str | None, options: dict[str, Any]) -> None:
    light, full = load_tokenizer(TINY), load_tokenizer(TINY, mode="hf")
    wanted = full.inner.apply_chat_template(TALK, chat_template=template, tokenize=False, **options)
    assert light.apply_chat_template(TALK, chat_template=template, tokenize=False, **options) == wanted
    known = {name: value for name, value in options.items() if name in ("tools", "add_generation_prompt")}
    others = {name: value for name, value in options.items() if name not in known}
    assert render_chat(light, TALK, chat_template=template, template_kwargs=others, **known) == wanted


@pytest.mark.parametrize("template", [HEADERS, CHATML, INST, None])
@pytest.mark.parametrize("content", ["It is", "It is ", " two\n\n"])
def test_the_last_message_continued_as_transformers_does(template: str | None, content: str) -> None:
    light, full = load_tokenizer(TINY), load_tokenizer(TINY, mode="hf")
    talk = [{"role": "user", "content": "What is it?"}, {"role": "assistant", "content": content}]
    options = {"chat_template": template, "continue_final_message": True, "tokenize": False}
    wanted = full.inner.apply_chat_template(talk, **options)
    assert light.apply_chat_template(talk, **options) == wanted
    assert talk[1]["content"] == content


def test_tool_calls_with_arguments_as_text(tiny: Tokenizer) -> None:
    as_text = CALL | {"function": {"name": "add", "arguments": '{"a": 1}'}}
    talks = [[TALK[0], {"role": "assistant", "content": None, "tool_calls": [call]}] for call in (CALL, as_text)]
    first, second = (render_chat(tiny, talk, chat_template=CHATML) for talk in talks)
    assert first == second and '{"name": "add", "arguments": {"a": 1}}' in first


def test_ids_are_those_of_the_text(tiny: Any) -> None:
    text = tiny.apply_chat_template(TALK, tokenize=False, add_generation_prompt=True)
    encoded = tiny.apply_chat_template(TALK, add_generation_prompt=True)
    assert encoded.input_ids == tiny.encode(text, add_special_tokens=False)
    assert tiny.apply_chat_template(TALK, add_generation_prompt=True, return_dict=False) == encoded["input_ids"]


def test_text_parts_are_joined_by_newlines(tiny: Tokenizer) -> None:
    parts = [{"type": "text", "text": "one"}, "two", {"type": "input_text", "text": "three"}]
    assert normalise_messages([{"role": "user", "content": parts}]) == [{"role": "user", "content": "one\ntwo\nthree"}]


@pytest.mark.parametrize("kind", ["image_url", "input_audio", "video_url"])
def test_media_are_refused(tiny: Tokenizer, kind: str) -> None:
    talk = [{"role": "user", "content": [{"type": kind, kind: {"url": "x"}}]}]
    with pytest.raises(
        InvalidRequestError, match=rf"messages\[0\].content\[0\].*{kind}.*tiny is not a multimodal model"
    ):
        render_chat(tiny, talk, model="tiny")


@pytest.mark.parametrize(
    "message,text",
    [
        ("hi", "must be a dict"),
        ({"content": "x"}, "role"),
        ({"role": "user", "content": 5}, "a string or a list of parts"),
        ({"role": "user", "content": [{"type": "text"}]}, "must be a text part"),
        ({"role": "user", "content": [{"type": "poem", "text": "x"}]}, "must be a text part"),
        ({"role": "assistant", "tool_calls": [{"function": {"arguments": "{"}}]}, "arguments.*JSON"),
    ],
)
def test_wrong_messages(tiny: Tokenizer, message: Any, text: str) -> None:
    with pytest.raises(InvalidRequestError, match=rf"messages\[1\].*{text}"):
        render_chat(tiny, [TALK[0], message])


def test_messages_without_content_and_unknown_roles_pass(tiny: Tokenizer) -> None:
    text = render_chat(tiny, [{"role": "critic"}], add_generation_prompt=False)
    assert text == "<|im_start|>critic\n<|im_end|>\n"


@pytest.mark.parametrize(
    "template,text",
    [
        (INST, "Roles must alternate"),
        ("{% for %}", "error in line 1"),
        ("{{ messages[0].content + 5 }}", "failed on these messages: TypeError"),
        ("{{ messages.append(1) }}", "refused"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "refused"),
    ],
)
def test_a_template_that_refuses_or_fails(tiny: Tokenizer, template: str, text: str) -> None:
    with pytest.raises(InvalidRequestError, match=text):
        render_chat(tiny, [TALK[1], TALK[0]], chat_template=template)


def test_templates_see_no_methods_of_foreign_objects(tiny: Tokenizer) -> None:
    rendered = render_chat(tiny, TALK, chat_template="{{ secret }}", template_kwargs={"secret": Path("x")})
    assert rendered == "<PosixPath>"


def test_no_messages_and_contradicting_options(tiny: Tokenizer) -> None:
    with pytest.raises(InvalidRequestError, match="at least one message"):
        render_chat(tiny, [])
    with pytest.raises(InvalidRequestError, match="contradict"):
        render_chat(tiny, TALK, add_generation_prompt=True, continue_final_message=True)


def test_a_model_without_template_says_what_to_do() -> None:
    with pytest.raises(InvalidRequestError, match="--chat-template"):
        select_chat_template(None, None, has_tools=False)


def test_one_of_several_templates() -> None:
    own = {"default": "D", "tool_use": "T", "rag": "R"}
    assert select_chat_template(own, None, has_tools=False) == "D"
    assert select_chat_template(own, None, has_tools=True) == "T"
    assert select_chat_template(own, "rag", has_tools=False) == "R"
    assert select_chat_template(own, "{{ x }}", has_tools=False) == "{{ x }}"
    with pytest.raises(InvalidRequestError, match="rag"):
        select_chat_template({"rag": "R"}, None, has_tools=False)


def test_where_templates_are_read_from(tmp_path: Path) -> None:
    listed = [{"name": "default", "template": "C"}, {"name": "rag", "template": "R"}]
    assert read_chat_template(tmp_path, {}) is None
    assert read_chat_template(tmp_path, {"chat_template": "C"}) == "C"
    assert read_chat_template(tmp_path, {"chat_template": listed}) == {"default": "C", "rag": "R"}
    (tmp_path / "chat_template.jinja").write_text("F", encoding="utf-8")
    assert read_chat_template(tmp_path, {"chat_template": "C"}) == "F"


def test_a_template_as_option(tmp_path: Path) -> None:
    path = tmp_path / "t.jinja"
    path.write_text("{{ x }}", encoding="utf-8")
    assert [load_chat_template(value) for value in (None, str(path), "{{ y }}")] == [None, "{{ x }}", "{{ y }}"]
    with pytest.raises(ConfigError, match="neither a readable file nor a template"):
        load_chat_template(str(tmp_path / "nothing.jinja"))


def test_one_conversation_or_several() -> None:
    assert as_conversations(TALK) == [TALK]
    assert as_conversations([TALK, TALK]) == [TALK, TALK]
    for wrong in ([], "hi", None):
        with pytest.raises(InvalidRequestError, match="Messages must be"):
            as_conversations(wrong)
