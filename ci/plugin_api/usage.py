"""Which in-tree plugins use what changed, found in their sources' syntax trees. Nothing is imported.

Five kinds of use are seen: a class that subclasses, a method that overrides, an import, an attribute of something whose
class is known (by name, by annotation, as `self`, or because one class alone has an attribute of that name), and an
argument given by name.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ci.plugin_api.compare import Change
from ci.plugin_api.items import Item, Kind

__all__ = ["Interface", "Source", "Use", "read_plugins", "uses"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """One module of a plugin."""

    plugin: str
    file: Path
    """Relative to the repository."""
    module: str
    tree: ast.Module


@dataclass(frozen=True, kw_only=True, slots=True)
class Use:
    """One place that a change concerns."""

    plugin: str
    file: Path
    line: int
    how: str

    def __str__(self) -> str:
        return f"{self.plugin}: {self.file}:{self.line} {self.how}"


class Interface:
    """The lock's items as a plugin's author sees them: second import paths lead to the definition, classes have bases."""

    def __init__(self, items: Iterable[Item]) -> None:
        items = list(items)
        self._exports = {item.path: item.text.removeprefix(" = ") for item in items if item.kind is Kind.EXPORT}
        self._classes = {item.name: item.path for item in items if item.kind is Kind.CLASS}
        self._bases = {item.path: _names(item.text.partition(" @")[0]) for item in items if item.kind is Kind.CLASS}
        self._owners: dict[str, set[str]] = {}
        for item in items:
            if item.owner is not None:
                self._owners.setdefault(item.name, set()).add(item.parent)

    def canonical(self, path: str) -> str:
        """Where `path` is defined."""
        return self._exports.get(path, path)

    def ancestors(self, path: str) -> Iterator[str]:
        """The class and, transitively, its bases that are under the lock."""
        yield path
        for name in self._bases.get(path, ()):
            base = self._classes.get(name)
            if base is not None and base != path:
                yield from self.ancestors(base)

    def only_owner(self, name: str) -> str | None:
        """The one class that has a member of this name; None where there are none or several."""
        owners = self._owners.get(name, set())
        return next(iter(owners)) if len(owners) == 1 else None


def _names(text: str) -> list[str]:
    """Simple names of the classes in `(abc.ABC, Generic[T])`."""
    nodes = ast.walk(ast.parse(f"f{text or '()'}"))
    return [
        node.attr if isinstance(node, ast.Attribute) else node.id
        for node in nodes
        if isinstance(node, (ast.Attribute, ast.Name))
    ][1:]


def read_plugins(tree: Path) -> list[Source]:
    """Every module below `plugins/*/src`."""
    return [
        Source(
            plugin=file.relative_to(tree).parts[1],
            file=file.relative_to(tree),
            module=".".join(file.relative_to(tree).with_suffix("").parts[3:]).removesuffix(".__init__"),
            tree=ast.parse(file.read_text(encoding="utf-8")),
        )
        for file in sorted(tree.glob("plugins/*/src/**/*.py"))
    ]


def uses(change: Change, sources: Sequence[Source], interface: Interface) -> list[Use]:
    """Where the plugins use what changed, in the order of files and lines; each line once."""
    names = {source.module: _Names(source, interface) for source in sources}
    ancestry = _Ancestry(names, interface)
    found = [use for source in sources for use in _Finder(change, source, names[source.module], ancestry).find()]
    by_line = {(use.file, use.line): use for use in reversed(found)}
    return [by_line[key] for key in sorted(by_line)]


def _imported(node: ast.AST) -> Iterator[tuple[str, str]]:
    """(local name, dotted path) of what an import statement binds."""
    if isinstance(node, ast.Import):
        for each in node.names:
            yield (each.asname, each.name) if each.asname else (each.name.partition(".")[0],) * 2
    elif isinstance(node, ast.ImportFrom) and node.level == 0:
        yield from ((each.asname or each.name, f"{node.module}.{each.name}") for each in node.names)


class _Names:
    """What the names of one module stand for."""

    def __init__(self, source: Source, interface: Interface) -> None:
        self._interface = interface
        self.imports: dict[str, str] = {}
        self.classes = {node.name: node for node in ast.walk(source.tree) if isinstance(node, ast.ClassDef)}
        self._module = source.module
        for node in ast.walk(source.tree):
            self.imports |= dict(_imported(node))

    def path(self, node: ast.expr | None) -> str | None:
        """The dotted path that an expression names; None where it is not a plain name."""
        if isinstance(node, ast.Subscript):
            return self.path(node.value)
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return self._parsed(node.value)
        if isinstance(node, ast.Name):
            local = f"{self._module}.{node.id}" if node.id in self.classes else None
            found = self.imports.get(node.id, local)
            return found and self._interface.canonical(found)
        if isinstance(node, ast.Attribute):
            value = self.path(node.value)
            return value and self._interface.canonical(f"{value}.{node.attr}")
        return None

    def _parsed(self, text: str) -> str | None:
        try:
            return self.path(ast.parse(text, mode="eval").body)
        except SyntaxError:
            return None  # a string that is no annotation


class _Ancestry:
    """Which classes of core a class of a plugin descends from, over the plugin's own modules."""

    def __init__(self, names: Mapping[str, _Names], interface: Interface) -> None:
        self.interface = interface
        self._bases = {
            f"{module}.{cls.name}": [path for base in cls.bases if (path := of.path(base))]
            for module, of in names.items()
            for cls in of.classes.values()
        }
        self._bodies = {
            f"{module}.{name}": cls.body for module, of in names.items() for name, cls in of.classes.items()
        }

    def define(self, path: str, name: str) -> bool:
        """Whether the class, or a plugin's class above it, defines `name`."""
        return any(name in _defined(node) for each in self.of(path) for node in self._bodies.get(each, ()))

    def of(self, path: str | None) -> set[str]:
        """The class itself and everything above it."""
        if path is None:
            return set()
        own = {path} if path in self._bases else set(self.interface.ancestors(path))
        return own.union(*(self.of(base) for base in self._bases.get(path, ())))


class _Finder:
    """Looks for the uses of one change in one module."""

    def __init__(self, change: Change, source: Source, names: _Names, ancestry: _Ancestry) -> None:
        self._change, self._source, self._names, self._ancestry = change, source, names, ancestry
        self._name, self._parent = change.item.name, change.item.parent
        self._is_member = change.item.owner is not None

    def find(self) -> Iterator[Use]:
        if not self._is_member:
            yield from self._of_path(self._change.item.path)
            return
        for cls in self._names.classes.values():
            if self._parent in self._ancestry.of(f"{self._source.module}.{cls.name}"):
                yield from self._in_subclass(cls)
        if not self._change.is_new_duty:
            yield from self._attributes(self._source.tree, {})
            yield from self._keywords()

    def _use(self, node: ast.stmt | ast.expr | ast.alias, how: str) -> Use:
        return Use(plugin=self._source.plugin, file=self._source.file, line=node.lineno, how=how)

    def _of_path(self, path: str) -> Iterator[Use]:
        canonical = self._ancestry.interface.canonical
        for node in ast.walk(self._source.tree):
            if isinstance(node, ast.ImportFrom):
                for each in node.names:
                    if path in (name := f"{node.module}.{each.name}", canonical(name)):
                        yield self._use(each, f"imports {each.name}")
            elif isinstance(node, ast.Attribute) and self._names.path(node) == path:
                yield self._use(node, f"uses {node.attr}")

    def _in_subclass(self, cls: ast.ClassDef) -> Iterator[Use]:
        own = [node for node in cls.body if self._name in _defined(node)]
        yield from (self._use(node, f"{cls.name} overrides {self._name}") for node in own)
        path = f"{self._source.module}.{cls.name}"
        if self._change.is_new_duty and not self._ancestry.define(path, self._name):
            yield self._use(cls, f"{cls.name} must define {self._name}")
        elif self._name == "__init__" and not own:
            yield self._use(cls, f"{cls.name} inherits {self._name}")

    def _attributes(self, node: ast.AST, types: Mapping[str, str]) -> Iterator[Use]:
        """Attribute accesses below `node`; `types` are the classes of names that are in scope."""
        if isinstance(node, ast.ClassDef):
            types = {**types, "self": f"{self._source.module}.{node.name}", "cls": f"{self._source.module}.{node.name}"}
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            args = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            types = {**types, **{arg.arg: path for arg in args if (path := self._names.path(arg.annotation))}}
        if isinstance(node, ast.Attribute) and node.attr == self._name and self._is_owner(node.value, types):
            yield self._use(node, f"uses {node.attr}")
        for child in ast.iter_child_nodes(node):
            yield from self._attributes(child, types)

    def _is_owner(self, value: ast.expr, types: Mapping[str, str]) -> bool:
        known = types.get(value.id) if isinstance(value, ast.Name) else None
        path = known or self._names.path(value)
        if path is not None:
            return self._parent in self._ancestry.of(path)
        return self._ancestry.interface.only_owner(self._name) == self._parent

    def _keywords(self) -> Iterator[Use]:
        """Fields given to the constructor by name."""
        for node in ast.walk(self._source.tree):
            if isinstance(node, ast.Call) and self._parent in self._ancestry.of(self._names.path(node.func)):
                given = [keyword for keyword in node.keywords if keyword.arg == self._name]
                yield from (self._use(keyword.value, f"gives {self._name}=") for keyword in given)
                if self._name == "__init__":
                    yield self._use(node, f"makes a {self._change.item.owner}")


def _defined(node: ast.stmt) -> set[str]:
    """Names that a statement of a class body defines."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return {node.name}
    if isinstance(node, ast.Assign):
        return {target.id for target in node.targets if isinstance(target, ast.Name)}
    return {node.target.id} if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) else set()
