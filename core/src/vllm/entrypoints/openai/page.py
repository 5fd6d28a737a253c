"""Owns the page at `/`, for people who would rather look: one HTML file without anything external, which asks the other routes."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import re
from importlib.resources import files

from fastapi import APIRouter, Request, Response

import vllm
from vllm.entrypoints.openai.server_state import state_of
from vllm.platforms.selection import load_platform

__all__ = ["page_html", "policy", "router"]

router = APIRouter()
_SERVED = re.compile(r'(<script type="application/json" id="served">).*?(</script>)')
_INLINE = re.compile(r"<(script|style)>(.*?)</\1>", re.DOTALL)


@router.get("/", include_in_schema=False)
async def page(request: Request) -> Response:
    """The page. A browser runs what is written in it and nothing else, and it may ask this server only."""
    html = _filled(state_of(request).engine.config.platform)
    return Response(html, media_type="text/html", headers={"Content-Security-Policy": policy(), **_HEADERS})


_HEADERS = {"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}


@functools.cache
def page_html() -> str:
    """The file as it is shipped."""
    return files("vllm").joinpath("assets/page/index.html").read_text(encoding="utf-8")


@functools.cache
def _filled(platform_path: str) -> str:
    """With what no other route tells."""
    platform = f"{load_platform(platform_path).usage_label()} ({platform_path.partition('.')[0]})"
    served = json.dumps({"version": vllm.__version__, "platform": platform}).replace("<", "\\u003c")
    return _SERVED.sub(lambda found: found[1] + served + found[2], page_html())


@functools.cache
def policy() -> str:
    """The page's Content-Security-Policy: its own script and style, by their hashes."""
    own = {kind: _hash(content) for kind, content in _INLINE.findall(page_html())}
    return (
        f"default-src 'none'; script-src '{own['script']}'; style-src '{own['style']}'; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(content: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
