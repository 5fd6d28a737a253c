"""The training text: CPython's help topics as prose, and small seeded drills that a model of this size can learn.

`python make_data.py` prints how much there is, the prose's digest and a few drills.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from pydoc_data.topics import topics

__all__ = ["SEED", "Drills", "prose"]

SEED = 20260101
TURN_START, TURN_END = "<|im_start|>", "<|im_end|>"
FOREIGN = (
    "héllo wörld",
    "naïve café",
    "你好，世界",
    "日本語テキスト",
    "Привет, мир",
    "😀🎉🚀",
    "αβγδε",
    "€100 → £90",
    "한국어",
    "👩‍👩‍👧‍👦",
    "ñandú",
    "עברית",
)


def prose() -> list[str]:
    """The help topics of the running Python, in the order of their names."""
    return [topics[name] for name in sorted(topics)]


def chat(question: str, answer: str) -> str:
    """One exchange in the form of the model's chat template."""
    return f"{TURN_START}user\n{question}{TURN_END}\n{TURN_START}assistant\n{answer}{TURN_END}\n"


class Drills:
    """A seeded source of drills: the same seed and the same Python give the same drills."""

    def __init__(self, seed: int = SEED) -> None:
        self._random = random.Random(seed)
        words = {word for text in prose() for word in text.split() if word.isalpha() and 3 <= len(word) <= 9}
        self._words = sorted(words)
        # `repeat` stands twice: copying is what the model finds hardest.
        self._kinds: tuple[Callable[[], str], ...] = (
            self.count,
            self.repeat,
            self.repeat,
            self.repeat_foreign,
            self.to_json,
            self.spell,
            self.look_up,
        )

    def take(self, count: int) -> list[str]:
        """The next `count` drills."""
        return [self._random.choice(self._kinds)() for _ in range(count)]

    def count(self) -> str:
        first, length = self._random.randrange(400), self._random.randrange(8, 40)
        return "Count: " + " ".join(map(str, range(first, first + length))) + "\n"

    def repeat(self) -> str:
        text = " ".join(self._random.choice(self._words) for _ in range(self._random.randrange(3, 24)))
        return chat(f"Repeat: {text}", text)

    def repeat_foreign(self) -> str:
        text = " ".join(self._random.choice(FOREIGN) for _ in range(self._random.randrange(1, 6)))
        return chat(f"Repeat: {text}", text)

    def to_json(self) -> str:
        name, age = self._random.choice(self._words), self._random.randrange(1, 99)
        ok = self._random.random() < 0.5
        return chat(f"JSON: name={name} age={age} ok={ok}", json.dumps({"name": name, "age": age, "ok": ok}))

    def spell(self) -> str:
        word = self._random.choice(self._words)
        return chat(f"Spell: {word}", " ".join(word))

    def look_up(self) -> str:
        keys = self._random.sample(self._words, self._random.randrange(3, 9))
        table = {key: self._random.randrange(10, 99) for key in keys}
        asked = self._random.choice(keys)
        listed = ", ".join(f"{key}={value}" for key, value in table.items())
        return chat(f"Look up: {listed}. What is {asked}?", str(table[asked]))


def main() -> None:
    text = "\n".join(prose())
    print(f"prose: {len(text)} characters, sha256 {hashlib.sha256(text.encode()).hexdigest()}")
    for drill in Drills().take(14):
        print(repr(drill))


if __name__ == "__main__":
    main()
