"""`docs/plugin-api.md`: the interface with its docstrings, from the same reading as the lock."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby

from ci.plugin_api.items import Item, Kind

__all__ = ["page"]

_HEAD = """\
# The plugin interface

<!-- Written by `nox -s api -- --write` from core's docstrings. Do not edit: edit the docstrings. -->

Everything that a plugin fills, calls or receives. What is not here is the core's own business and may change any day.
What is here is under lock: `nox -s api` names every change as additive or breaking (see
[versions](compatibility.md)). **mandatory** methods have no default; **final** ones are called, never overridden.

"""
_SECTION = re.compile(r"^(Args|Returns|Raises):\s*", re.MULTILINE)


def page(items: Iterable[Item], docs: Mapping[str, str]) -> str:
    """The page's text; `docs` holds the modules' docstrings."""
    parts = [_HEAD]
    for module, members in groupby(items, key=lambda item: item.module):
        parts.append(f"## `{module}`\n\n{_text(docs[module])}\n\n")
        exports, others = _parted(members)
        if exports:
            parts.append("Import from here: " + ", ".join(map(_export, exports)) + "\n\n")
        parts.extend(_entry(item) for item in others)
        parts.append("\n")
    return re.sub(r"\n{3,}", "\n\n", "".join(parts)).rstrip() + "\n"


def _parted(members: Iterable[Item]) -> tuple[list[Item], list[Item]]:
    every = list(members)
    exports = [item for item in every if item.kind is Kind.EXPORT]
    return exports, [item for item in every if item.kind is not Kind.EXPORT]


def _export(item: Item) -> str:
    target = item.text.removeprefix(" = ")
    anchor = target.rpartition(".")[0].replace(".", "").lower()
    return f"[`{item.name}`](#{anchor})"


def _entry(item: Item) -> str:
    if item.kind is Kind.CLASS:
        return f"\n### {item.name}\n\n`{item.line}`\n\n{_text(item.doc)}\n\n"
    signature = f"`{item.name}{item.text}`"
    words = [{"abstract": "mandatory"}.get(mark, mark) for mark in item.marks]
    if item.kind is Kind.PROPERTY:
        words.append("property")
    notes = "".join(f" **{word}**" for word in words)
    body = _text(item.doc)
    return f"- {signature}{notes}\n" + (f"\n{textwrap.indent(body, '    ')}\n\n" if body else "")


def _text(doc: str) -> str:
    """A docstring as Markdown: `Args:` and its like become lists, angle brackets stay visible."""
    return "\n".join(_lines(doc)).strip()


def _lines(doc: str) -> Iterator[str]:
    is_list = False
    for line in doc.splitlines():
        found = _SECTION.match(line)
        if found:
            is_list = True
            yield from ("", f"**{found[1]}**", "")
            if line[found.end() :]:
                yield f"- {_visible(line[found.end() :])}"
        elif is_list and line.startswith("    "):
            is_continued = line.startswith("     ")
            yield f"  {_visible(line.strip())}" if is_continued else f"- {_visible(line.strip())}"
        else:
            is_list = is_list and not line.strip()
            yield _visible(line)


def _visible(line: str) -> str:
    """Outside code, `<` would start a tag, and `*` or `_` an emphasis."""
    parts = line.split("`")
    parts[::2] = [re.sub(r"([<*_\[\]])", r"\\\1", part) for part in parts[::2]]
    return "`".join(parts)
