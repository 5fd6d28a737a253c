"""The page at `/`: complete in itself, true to what the server exposes, and alive in a browser behind a key and a proxy's path."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from core.tests.serving.browser import Browser, browser, chromium
from core.tests.serving.in_process import Served
from core.tests.serving.spawned import Spawned, spawned
from vllm.entrypoints.openai.page import page_html

KEY = "sesame"


def test_nothing_comes_from_elsewhere() -> None:
    html = page_html().replace("http://www.w3.org/2000/svg", "")  # the name of SVG, which nobody fetches
    assert re.findall(r"\w+://|//\w+\.\w+", html) == []
    assert re.findall(r'(?:src|href|action)="([^"]*)"', html) == ["data:,"]
    assert not re.search(r"@import|url\(|innerHTML|insertAdjacentHTML|eval\(", html)


def test_every_metric_that_it_reads_is_exposed(inside: Served) -> None:
    text = inside.run(inside.http.get("/metrics")).text
    exposed = {sample.name for family in text_string_to_metric_families(text) for sample in family.samples}
    read = set(re.findall(r'"(vllm:\w+)"', page_html()))
    assert len(read) >= 10
    assert read <= exposed


def test_every_element_that_its_script_names_is_there_once() -> None:
    html = page_html()
    there = re.findall(r'\bid="(\w+)"', html)
    named = set(re.findall(r'(?:byId|show|drawHistogram)\("(\w+)"', html))
    assert len(there) == len(set(there))
    assert named <= set(there)


def test_every_route_that_it_asks_is_there(inside: Served) -> None:
    asked = set(re.findall(r'(?:ask\(|base \+ )"([\w/]+)"', page_html()))
    assert asked == {"v1/models", "metrics", "health", "v1/chat/completions"}
    assert all(inside.run(inside.http.get("/" + path)).status_code != 404 for path in asked)


def test_a_browser_may_run_only_what_is_in_it(inside: Served) -> None:
    answer = inside.run(inside.http.get("/"))
    assert answer.headers["content-type"].startswith("text/html")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; ") and "unsafe" not in policy
    for kind in ("script", "style"):
        (content,) = re.findall(rf"<{kind}>(.*?)</{kind}>", answer.text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy


def test_it_is_told_version_and_platform(inside: Served) -> None:
    html = inside.run(inside.http.get("/")).text
    (served,) = re.findall(r'id="served">(.*?)</script>', html)
    told = json.loads(served)
    assert told["version"] and re.fullmatch(r"\w+ \(\w+\)", told["platform"])
    assert "/" not in inside.run(inside.http.get("/openapi.json")).json()["paths"]


@pytest.fixture(scope="module")
def guarded() -> Iterator[Spawned]:
    with spawned("--api-key", KEY, "--root-path", "/behind/proxy") as one:
        yield one


@pytest.fixture
def page(guarded: Spawned) -> Iterator[Browser]:
    with browser() as one:
        one.open(guarded.url + "/behind/proxy/")
        yield one


@pytest.mark.skipif(chromium() is None, reason="Chromium is not installed")
def test_it_asks_for_the_key_shows_the_numbers_and_chats(page: Browser, guarded: Spawned) -> None:
    page.wait_for("!byId('keybox').hidden")
    page.value("byId('key').value = 'wrong'; byId('keybox').requestSubmit()")
    page.wait_for("byId('keybox').hidden === false && byId('key').value === ''")
    page.value(f"byId('key').value = '{KEY}'; byId('keybox').requestSubmit()")
    page.wait_for("byId('model').textContent === 'tiny' && byId('keybox').hidden")
    page.value("byId('temperature').value = '0'; byId('tokens').value = '12'")
    page.value("byId('said').value = 'Hello <b>you</b>'; byId('chat').requestSubmit()")
    page.wait_for("answering === null && messages.length === 2")
    with guarded.client(headers={"Authorization": f"Bearer {KEY}"}) as client:
        body = {"messages": [{"role": "user", "content": "Hello <b>you</b>"}], "max_tokens": 12, "temperature": 0}
        said = client.post("/v1/chat/completions", json=body).json()["choices"][0]["message"]["content"]
    assert page.value("messages[1].content") == said
    assert page.value("document.querySelector('#talk .assistant').textContent") == said
    assert page.value("document.querySelector('#talk .user').textContent") == "Hello <b>you</b>"
    page.wait_for("byId('ended').textContent === '2 requests ended'")
    page.wait_for("byId('e2el').querySelectorAll('rect').length > 0 && byId('running').textContent === '0'")
    page.wait_for("byId('course').querySelector('polyline') !== null && byId('state').textContent === '● live'")
    for width, height in ((1280, 800), (390, 844)):  # nothing is cut off, on a phone neither
        page.resize(width, height)
        page.wait_for(
            f"innerWidth === {width} && document.documentElement.scrollWidth === document.documentElement.clientWidth"
        )
    assert [line for line in page.log if "401" not in line] == []


@pytest.mark.skipif(chromium() is None, reason="Chromium is not installed")
def test_an_answer_can_be_stopped_and_errors_are_shown(page: Browser) -> None:
    page.wait_for("!byId('keybox').hidden")
    page.value(f"byId('key').value = '{KEY}'; byId('keybox').requestSubmit()")
    page.wait_for("model === 'tiny'")
    page.value("byId('tokens').value = '100000'; byId('said').value = 'x'; byId('chat').requestSubmit()")
    page.wait_for("document.querySelector('#talk .error') !== null && answering === null")
    assert "max_tokens" in page.value("document.querySelector('#talk .error').textContent")
    assert page.value("messages.length") == 0
    page.value("byId('tokens').value = '2000'; byId('said').value = 'Go on'; byId('chat').requestSubmit()")
    page.value("byId('stop').click()")
    page.wait_for("answering === null && byId('stop').disabled")
    page.wait_for("byId('running').textContent === '0'")
