"""langchain-openai against a server: `python with_langchain.py http://127.0.0.1:8000`. Not a test by itself; `nox -s clients` runs it."""

from __future__ import annotations

import sys
from typing import Literal

from langchain_openai import ChatOpenAI, OpenAI
from pydantic import BaseModel

ASKED = "JSON: name=Ann age=36 ok=True"


class Person(BaseModel):
    """A person."""

    name: Literal["Ann", "Bob"]
    age: Literal[35, 36, 37]
    ok: bool


def person(name: Literal["Ann", "Bob"], ok: bool) -> str:
    """Note a person."""
    return f"{name} {ok}"


def main(url: str) -> None:
    """Chats and responses, whole and streamed; forms; tools; completions."""
    given = {"model": "tiny", "base_url": f"{url}/v1", "api_key": "none", "temperature": 0, "max_retries": 0}
    chat, responses = ChatOpenAI(**given), ChatOpenAI(**given, use_responses_api=True)
    said = chat.invoke(ASKED).text
    assert said
    assert responses.invoke(ASKED).text == said
    for each in (chat, responses):
        assert "".join(chunk.text for chunk in each.stream(ASKED)) == said
    assert isinstance(chat.with_structured_output(Person, method="json_schema").invoke(ASKED), Person)
    (call,) = chat.bind_tools([person], tool_choice="person").invoke(ASKED).tool_calls
    assert {"name", "ok"} <= call["args"].keys()
    assert len(chat.batch([ASKED, "Hello"])) == 2
    assert OpenAI(**given, max_tokens=8).invoke("Hello")


if __name__ == "__main__":
    main(sys.argv[1])
