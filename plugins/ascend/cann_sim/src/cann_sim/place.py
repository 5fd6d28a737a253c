"""Owns where what is compiled for a pair of wheels lies, and how what is compiled is named: by what it is made of."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from cann_sim import cache
from cann_sim.libraries import LIBRARIES, SOURCES, reached_headers
from cann_sim.toolkit import CANN_VERSION, Toolkit
from cann_sim.wheels import Pair, installed_pair

__all__ = ["Place", "digest", "named_contents", "place"]

_RECIPE = ("libraries", "compiler", "toolkit")


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where what is compiled for a pair lies."""

    pair: Pair
    folder: Path

    @property
    def objects(self) -> Path:
        return self.folder / "objects"

    @property
    def toolkits(self) -> Path:
        return self.folder / "toolkits"

    def toolkit(self) -> Toolkit:
        """The toolkit that belongs to the sources as they are now, whether it is built or not."""
        return Toolkit(path=self.toolkits / _digest_of_sources())


def place() -> Place:
    """The place of the installed pair; raises `PairError`."""
    pair = installed_pair()
    return Place(pair=pair, folder=cache.root() / pair.key)


def digest(*parts: str | bytes) -> str:
    """A name for a sequence of texts; another sequence has another."""
    hashed = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        hashed.update(str(len(data)).encode() + b":" + data)
    return hashed.hexdigest()[:24]


def named_contents(paths: tuple[Path, ...]) -> list[str | bytes]:
    """Each of our files' name and content."""
    return [part for path in paths for part in (str(path.relative_to(SOURCES)), path.read_bytes())]


def _digest_of_sources() -> str:
    """Changes with anything that a toolkit is made of, this package's own recipe included."""
    recipe = [path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")) if path.stem in _RECIPE]
    sources = [source for library in LIBRARIES for source in library.sources()]
    headers = sorted({header for source in sources for header in reached_headers(source)})
    return digest(CANN_VERSION, *recipe, *named_contents((*sources, *headers)))
