"""Finding custom logits processors: classes, dotted paths, installed plugins; every failure names the processor."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from vllm.sampling.load_processors import LogitsProcessorError, load_logits_processors, validate_processor_params
from vllm.sampling.logits_processors_interface import BatchUpdate, LogitsProcessor
from vllm.sampling_params import SamplingParams


class Doubling(LogitsProcessor):
    """Doubles every logit, where a request's extra_args allow."""

    @classmethod
    def validate_params(cls, sampling_params: SamplingParams) -> None:
        if (sampling_params.extra_args or {}).get("factor", 2) != 2:
            raise ValueError("factor must be 2")

    def __init__(self, vllm_config: Any, device: Any, is_pin_memory: bool) -> None:
        self.batch_size = 0

    def apply(self, logits: Any) -> Any:
        return logits * 2

    def is_argmax_invariant(self) -> bool:
        return True

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        if batch_update is not None:
            self.batch_size = batch_update.batch_size


MODULE = """
from core.tests.front.test_logits_processors import Doubling

class Tripling(Doubling):
    pass

not_a_class = 3
"""


@pytest.fixture
def module_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"processors_of_{tmp_path.name}".replace("-", "_")
    (tmp_path / f"{name}.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def test_a_class_and_a_dotted_path(module_path: str) -> None:
    found = load_logits_processors([Doubling, f"{module_path}:Tripling", f"{module_path}.Tripling", Doubling])
    assert [cls.__name__ for cls in found] == ["Doubling", "Tripling"]
    assert load_logits_processors() == ()


@pytest.mark.parametrize(
    "path,words",
    [
        ("no_such_module_here:Thing", "No module named 'no_such_module_here'"),
        ("{module}:Tripple", "Tripling"),
        ("{module}:not_a_class", "is 3, not a class derived from LogitsProcessor"),
        ("justaword", "justaword"),
    ],
)
def test_a_failure_names_the_processor(module_path: str, path: str, words: str) -> None:
    wanted = path.format(module=module_path)
    with pytest.raises(LogitsProcessorError, match=words) as caught:
        load_logits_processors([wanted])
    assert wanted in str(caught.value) and isinstance(caught.value, RuntimeError)


def test_an_error_inside_the_module_is_the_cause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_processor_module.py").write_text("1 / 0", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(LogitsProcessorError, match=r"broken_processor_module.*ZeroDivisionError") as caught:
        load_logits_processors(["broken_processor_module:Any"])
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_something_else_than_a_processor_is_refused() -> None:
    with pytest.raises(LogitsProcessorError, match="dict"):
        load_logits_processors([dict])  # type: ignore[list-item]


def test_requests_are_validated_by_the_processor() -> None:
    validate_processor_params([Doubling], SamplingParams(extra_args={"factor": 2}))
    with pytest.raises(ValueError, match="factor must be 2"):
        validate_processor_params([Doubling], SamplingParams(extra_args={"factor": 3}))


ENTRY_POINTS = """[vllm.logits_processors]
doubling = {module}:{name}
"""


def test_installed_plugins_are_found(module_path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _install(tmp_path, ENTRY_POINTS.format(module=module_path, name="Tripling"))
    assert [cls.__name__ for cls in load_logits_processors()] == ["Tripling"]
    assert [cls.__name__ for cls in load_logits_processors([Doubling])] == ["Tripling", "Doubling"]
    monkeypatch.setenv("VLLM_PLUGINS", "")
    assert load_logits_processors() == ()


def test_an_installed_plugin_that_breaks_is_named(module_path: str, tmp_path: Path) -> None:
    _install(tmp_path, ENTRY_POINTS.format(module="no_such_module_here", name="X"))
    with pytest.raises(LogitsProcessorError, match=r"doubling.*no_such_module_here"):
        load_logits_processors()


def _install(folder: Path, entry_points: str) -> None:
    """A distribution as pip leaves it, in a folder on sys.path."""
    info = folder / "doubling_processor-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: doubling-processor\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(entry_points, encoding="utf-8")


def test_the_contract_imports_no_torch() -> None:
    code = (
        "import sys, vllm.sampling.logits_processors_interface, vllm.sampling.load_processors,"
        " vllm.sampling.structured_output; assert not {'torch', 'transformers', 'llguidance'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
