"""Owns chat templates: where a model folder keeps them, which one is meant, and rendering them as Transformers does.

Templates come from model folders, so they are foreign code: they run in jinja's immutable sandbox, on plain data only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vllm.errors import ConfigError, InvalidRequestError, ModelLoadError

if TYPE_CHECKING:
    import jinja2

__all__ = ["load_chat_template", "read_chat_template", "render_chat_template", "select_chat_template"]

_CONTINUE_HERE = "<vllm:continue-here> "
"""Put behind the final message to find its end in the rendered text; the space shows whether the template trims."""
_REASONING_FIELDS = ("reasoning_content", "thinking", "reasoning")


def read_chat_template(folder: Path, tokenizer_config: Mapping[str, Any]) -> str | dict[str, str] | None:
    """A model folder's template, or several by name: `chat_template.jinja`, `chat_templates/`, or the tokenizer's config."""
    named = {path.stem: path.read_text(encoding="utf-8") for path in sorted(folder.glob("chat_templates/*.jinja"))}
    default = folder / "chat_template.jinja"
    if default.is_file():
        named["default"] = default.read_text(encoding="utf-8")
    if not named:
        return _template_of_config(folder, tokenizer_config)
    return named["default"] if set(named) == {"default"} else named


def _template_of_config(folder: Path, tokenizer_config: Mapping[str, Any]) -> str | dict[str, str] | None:
    template = tokenizer_config.get("chat_template")
    processor_file = folder / "chat_template.json"
    if template is None and processor_file.is_file():
        try:
            template = json.loads(processor_file.read_text(encoding="utf-8"))["chat_template"]
        except (ValueError, KeyError, TypeError) as error:
            raise ModelLoadError(f"{processor_file} holds no chat template: {error!r}") from error
    if isinstance(template, list):
        return {entry["name"]: entry["template"] for entry in template}
    return template


def load_chat_template(value: str | None) -> str | None:
    """The template that an option names: a file's path, or the template itself. Raises ConfigError."""
    if value is None:
        return None
    if "{" in value or "\n" in value:
        return value
    try:
        return Path(value).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"The chat template {value!r} is neither a readable file nor a template: {error}.",
            remedy="give the path of a .jinja file, or the template's text in quotes",
        ) from error


def select_chat_template(own: str | dict[str, str] | None, wanted: str | None, *, has_tools: bool) -> str:
    """The template meant by `wanted` (a template, or a name among the model's own), or the model's default."""
    if isinstance(own, dict):
        if wanted is not None:
            return own.get(wanted, wanted)
        name = "tool_use" if has_tools and "tool_use" in own else "default"
        if name not in own:
            raise InvalidRequestError(
                f"This model has several chat templates ({', '.join(own)}) and no default.",
                parameter="chat_template",
                remedy="name one of them",
            )
        return own[name]
    template = own if wanted is None else wanted
    if template is None:
        raise InvalidRequestError(
            "This model's tokenizer has no chat template, so messages cannot be turned into a prompt.",
            parameter="messages",
            cause="a base model that was not trained for chat",
            remedy="give a template (`chat_template=`, --chat-template), or a plain prompt instead of messages",
        )
    return template


def render_chat_template(
    template: str,
    messages: Sequence[Any],
    *,
    variables: Mapping[str, Any],
    add_generation_prompt: bool = False,
    continue_final_message: bool = False,
) -> str:
    """Render messages to the prompt text. Raises InvalidRequestError with the template's own words where it refuses them."""
    if not messages:
        raise InvalidRequestError("A conversation needs at least one message.", parameter="messages")
    if add_generation_prompt and continue_final_message:
        raise InvalidRequestError(
            "`continue_final_message` and `add_generation_prompt` contradict each other: the first goes on with the last "
            "message, the second begins a new one.",
            parameter="continue_final_message",
        )
    plain = [_plain_message(message) for message in messages]
    if continue_final_message:
        _mark_end(plain[-1])
    data = {name: _plain(value) for name, value in variables.items()}
    text = _render(template, data | {"messages": plain, "add_generation_prompt": add_generation_prompt})
    return _cut_at_mark(text) if continue_final_message else text


def _plain_message(message: Any) -> dict[str, Any]:
    """A message as plain data without its empty fields; reasoning goes by all the names that templates read."""
    plain = _plain(message)
    if not isinstance(plain, dict):
        raise InvalidRequestError(
            f"A message must be a dict with `role` and `content`, got {message!r}.", parameter="messages"
        )
    plain = {key: value for key, value in plain.items() if value is not None}
    reasoning = next((plain[field] for field in _REASONING_FIELDS if field in plain), None)
    return plain if reasoning is None else {"thinking": reasoning} | plain | {"reasoning_content": reasoning}


def _plain(value: Any) -> Any:
    """JSON-like data rebuilt from the built-in types; anything else becomes its type's name, without its methods."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, (str, int, float)):
        return next(kind for kind in (str, int, float) if isinstance(value, kind))(value)
    if isinstance(value, Mapping):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    model_dump = getattr(value, "model_dump", None)  # pydantic models, as OpenAI's client gives them
    return _plain(model_dump()) if callable(model_dump) else f"<{type(value).__name__}>"


def _mark_end(message: dict[str, Any]) -> None:
    content = message.get("content")
    if isinstance(content, str):
        message["content"] = content + _CONTINUE_HERE
        return
    texts = [part for part in content or () if isinstance(part, dict) and "text" in part]
    if not texts:
        raise InvalidRequestError(
            "`continue_final_message` needs text in the last message.", parameter="continue_final_message"
        )
    texts[-1]["text"] += _CONTINUE_HERE


def _cut_at_mark(text: str) -> str:
    end = text.rfind(_CONTINUE_HERE.strip())
    if end < 0:
        raise InvalidRequestError(
            "The chat template does not show the last message, so it cannot be continued.",
            parameter="continue_final_message",
        )
    kept = text[:end]
    return kept if text.startswith(_CONTINUE_HERE, end) else kept.rstrip()


def _render(template: str, variables: Mapping[str, Any]) -> str:
    import jinja2

    try:
        compiled = _compiled(template)
    except jinja2.TemplateSyntaxError as error:
        raise InvalidRequestError(
            f"The chat template has an error in line {error.lineno}: {error.message}.", parameter="chat_template"
        ) from error
    try:
        return compiled.render(variables)
    except jinja2.TemplateError as error:
        raise InvalidRequestError(f"The chat template refused these messages: {error}", parameter="messages") from error
    except (TypeError, ValueError, KeyError, AttributeError, ArithmeticError) as error:
        raise InvalidRequestError(
            f"The chat template failed on these messages: {type(error).__name__}: {error}",
            parameter="messages",
            cause="a message, or a field of one, has a form that this template does not expect",
        ) from error


@lru_cache(maxsize=32)
def _compiled(template: str) -> jinja2.Template:
    from vllm.text.jinja_sandbox import make_environment

    return make_environment().from_string(template)
