"""A change of core that breaks spyre alone, planted in a scratch clone: the runner's `warm_up` gets another name.

cpu_ref and ascend inherit the method. Spyre overrides it to compile its steps, so that nothing calls spyre's any more.
`python -m ci.tests.planted CLONE` commits it there between changes that break nobody, to try `nox -s bisect` on.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ci.packages import CORE, package
from ci.tests import scratch

__all__ = ["SENTENCE", "break_spyre_alone", "plant_between_harmless_changes"]

SENTENCE = "worker: warm_up of a model runner is called prepare_steps"
_EDITS = {
    "model_runner_base.py": ("def warm_up(self)", "def prepare_steps(self)"),
    "torch_model_runner.py": ("def warm_up(self)", "def prepare_steps(self)"),
    "torch_worker.py": ("self.runner.warm_up()", "self.runner.prepare_steps()"),
    "sleep_mode.py": ("self._runner.warm_up()", "self._runner.prepare_steps()"),
}


def break_spyre_alone(tree: Path) -> None:
    """The change, uncommitted."""
    for name, (old, new) in _EDITS.items():
        file = tree / CORE.folder / "src" / "vllm" / "worker" / name
        text = file.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{file} holds {text.count(old)} times {old!r}"
        file.write_text(text.replace(old, new), encoding="utf-8")


def plant_between_harmless_changes(tree: Path) -> None:
    """Seven commits, of which the fourth breaks spyre; one of them touches no package, and one cannot be built."""
    core, spyre = tree / CORE.folder, tree / package("spyre").folder
    _add(tree, core / "src" / "vllm" / "logger.py", "# harmless\n", "core: a comment")
    _add(tree, tree / "docs" / "index.md", "\n", "docs: an empty line")
    _add(tree, spyre / "src" / "vllm_spyre" / "settings.py", "# harmless\n", "spyre: a comment")
    break_spyre_alone(tree)
    scratch.commit(tree, SENTENCE)
    _add(tree, spyre / "pyproject.toml", "[broken\n", "spyre: metadata that no build understands")
    text = (spyre / "pyproject.toml").read_text(encoding="utf-8")
    (spyre / "pyproject.toml").write_text(text.removesuffix("[broken\n"), encoding="utf-8")
    scratch.commit(tree, "spyre: metadata as before")
    _add(tree, core / "src" / "vllm" / "logger.py", "# harmless too\n", "core: another comment")


def _add(tree: Path, file: Path, text: str, message: str) -> None:
    with file.open("a", encoding="utf-8") as opened:
        opened.write(text)
    scratch.commit(tree, message)


if __name__ == "__main__":
    plant_between_harmless_changes(Path(sys.argv[1]))
