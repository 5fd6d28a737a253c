"""Owns the rules as data: `rules.json` read into classes, and the error that names a rule."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from vllm.errors import WorkerError

__all__ = ["Rule", "RuleBook", "RuleBrokenError", "rule_book"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """One thing that the card refuses."""

    id: str
    sentence: str
    remedy: str
    source: Mapping[str, str]
    """title, url, and section where there is one."""
    guess: bool
    """Whether the source only suggests it."""

    @property
    def cited(self) -> str:
        """Where it stands."""
        place = f", {self.source['section']!r}" if "section" in self.source else ""
        return f"{self.source['title']}{place}, {self.source['url']}{' (a guess from it)' if self.guess else ''}"


class RuleBrokenError(WorkerError):
    """The card would refuse this: names the rule, what was found and where, the remedy and the rule's source."""

    def __init__(self, rule: Rule, found: str, place: str = "") -> None:
        where = f" (in {place})" if place else ""
        super().__init__(
            f"Rule {rule.id} is broken{where}: {found}",
            cause=f"{rule.sentence} Source: {rule.cited}",
            remedy=rule.remedy,
        )
        self.rule, self.found = rule, found

    def at(self, place: str) -> RuleBrokenError:
        """The same, with the place where it was met."""
        return RuleBrokenError(self.rule, self.found, place)


@dataclass(frozen=True, kw_only=True, slots=True)
class RuleBook:
    """All of `rules.json`."""

    rules: Mapping[str, Rule]
    memory_bytes: int
    dtypes: Mapping[str, frozenset[str]]
    """float, index, bool → names of torch's dtypes."""
    updated_inputs: tuple[str, ...]
    """Arguments of a step that it may change."""
    operators: Mapping[str, str]
    """Operator → card, fallback (the card's software computes it on the host) or guess."""
    guessed: Mapping[str, str]
    """Operator → why it is let through all the same."""
    integer_operators: frozenset[str]

    @property
    def all_dtypes(self) -> frozenset[str]:
        """Every name."""
        return frozenset().union(*self.dtypes.values())

    def broken(self, rule_id: str, found: str) -> RuleBrokenError:
        """The error; raise it."""
        return RuleBrokenError(self.rules[rule_id], found)


@cache
def rule_book() -> RuleBook:
    """As shipped."""
    content: dict[str, Any] = json.loads(Path(__file__).with_name("rules.json").read_text(encoding="utf-8"))
    listed = content["operators"]
    return RuleBook(
        rules={entry["id"]: Rule(**entry) for entry in content["rules"]},
        memory_bytes=content["memory_bytes"],
        dtypes={kind: frozenset(names) for kind, names in content["dtypes"].items()},
        updated_inputs=tuple(content["updated_inputs"]),
        operators={name: origin for origin in ("card", "fallback", "guess") for name in listed[origin]},
        guessed=listed["guess"],
        integer_operators=frozenset(content["integer_operators"]),
    )
