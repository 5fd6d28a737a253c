"""litellm against a server: `python with_litellm.py http://127.0.0.1:8000`. Not a test by itself; `nox -s clients` runs it."""

from __future__ import annotations

import sys

import litellm

ASKED = [{"role": "user", "content": "JSON: name=Ann age=36 ok=True"}]


def main(url: str) -> None:
    """The same chat through OpenAI's API and through Anthropic's, whole and streamed; an error by its class."""
    said = set()
    for model, base in (("hosted_vllm/tiny", f"{url}/v1"), ("openai/tiny", f"{url}/v1"), ("anthropic/tiny", url)):
        given = {"model": model, "api_base": base, "api_key": "none", "messages": ASKED}
        given |= {"temperature": 0, "max_tokens": 100, "timeout": 60, "num_retries": 0}
        said.add(litellm.completion(**given).choices[0].message.content)
        said.add("".join(chunk.choices[0].delta.content or "" for chunk in litellm.completion(**given, stream=True)))
    assert len(said) == 1, said
    try:
        litellm.completion(model="hosted_vllm/nobody", api_base=f"{url}/v1", api_key="none", messages=ASKED)
    except litellm.NotFoundError:
        return
    raise AssertionError("a model that is not served was not refused")


if __name__ == "__main__":
    main(sys.argv[1])
