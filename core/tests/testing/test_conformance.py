"""The kit under pytest: laws are tests, excuses are skips with a reason, and no law can be taken away."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from vllm.errors import ConfigError
from vllm.testing import PlatformConformance
from vllm.testing.catalogue import all_laws

ROOT = Path(__file__).parents[3]
SOUND = "core.tests.testing.platforms.SoundPlatform"
LAW = "test_attention_sliding_window"


def make(**members: object) -> type:
    return type(PlatformConformance)("TestIt", (PlatformConformance,), {"platform": SOUND, **members})


def test_every_law_is_a_test_with_its_sentence() -> None:
    for law in all_laws():
        test = getattr(PlatformConformance, f"test_{law.area}_{law.name}")
        assert test.__doc__ == law.sentence


def test_own_tests_may_be_added_and_platforms_inherited() -> None:
    cls = make(test_mine=lambda self: None)
    assert getattr(type(cls)("TestMore", (cls,), {}), "platform") == SOUND  # noqa: B009 - set by the metaclass's caller


def test_a_platform_must_be_named() -> None:
    with pytest.raises(ConfigError, match="TestIt names no platform"):
        type(PlatformConformance)("TestIt", (PlatformConformance,), {})


@pytest.mark.parametrize("replacement", [None, lambda self, workplace: None, pytest.mark.skip(lambda self: None)])
def test_a_law_cannot_be_replaced(replacement: object) -> None:
    with pytest.raises(
        ConfigError, match=rf"(?s)TestIt replaces or removes {LAW}.*decline the feature, with the reason"
    ):
        make(**{LAW: replacement})


def test_nor_later() -> None:
    cls = make()
    with pytest.raises(ConfigError, match=f"replaces or removes {LAW}"):
        setattr(cls, LAW, None)
    for target in (cls, PlatformConformance):
        with pytest.raises(ConfigError, match=f"replaces or removes {LAW}"):
            delattr(target, LAW)


def test_nor_the_place_where_laws_are_checked() -> None:
    with pytest.raises(ConfigError, match="replaces or removes workplace"):
        make(workplace=None)


def test_nor_by_a_mixin() -> None:
    mixin = type("Mixin", (), {LAW: lambda self: None})
    for bases in ((mixin, PlatformConformance), (PlatformConformance, mixin)):
        with pytest.raises(ConfigError, match=f"replaces or removes {LAW}"):
            type(PlatformConformance)("TestIt", bases, {"platform": SOUND})


@pytest.mark.parametrize("member", ["__test__", "__init__", "setup_method", "setup_class"])
def test_nothing_runs_before_a_law_or_instead_of_it(member: str) -> None:
    with pytest.raises(ConfigError, match=f"TestIt defines {member}, which runs before every law"):
        make(**{member: lambda self: pytest.skip("later")})


def test_nor_does_a_fixture_unasked() -> None:
    make(mine=pytest.fixture(lambda self: 1))
    with pytest.raises(ConfigError, match="TestIt defines mine, which runs before every law"):
        make(mine=pytest.fixture(autouse=True)(lambda self: pytest.skip("later")))


@pytest.mark.parametrize(
    "mark",
    [
        pytest.mark.skip,
        pytest.mark.xfail(reason="later"),
        pytest.mark.skipif(True, reason="x"),
        pytest.mark.usefixtures("skipper"),
    ],
)
def test_a_class_cannot_be_marked_away(mark: pytest.MarkDecorator) -> None:
    with pytest.raises(ConfigError, match="which can take every law away"):
        mark(make())


def pytest_run(folder: Path, *arguments: str, conftest: str = "") -> str:
    """The words of a run of pytest in a plugin's folder."""
    (folder / "conftest.py").write_text(conftest)
    (folder / "test_conformance.py").write_text(
        "from vllm.testing import PlatformConformance\n"
        "class TestWindowless(PlatformConformance):\n"
        "    platform = 'core.tests.testing.platforms.WindowlessPlatform'\n"
        "class TestMisscaled(PlatformConformance):\n"
        "    platform = 'core.tests.testing.platforms.MisscaledPlatform'\n"
    )
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-rA", "--color=no", *arguments]
    environment = {
        "PYTHONPATH": str(ROOT),
        "PATH": "/usr/bin:/bin",
        "OMP_NUM_THREADS": "1",
        "VLLM_LOGGING_LEVEL": "WARNING",
    }
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False).stdout


def test_verdicts_become_pytests(tmp_path: Path) -> None:
    words = pytest_run(tmp_path, "-k", "sliding_window or head_layouts")
    assert "excused: sliding window: unsupported (its windows are painted on)" in words
    assert "excused: sound does not name float16 in supported_dtypes()" in words
    assert "FAILED test_conformance.py::TestMisscaled::test_attention_sliding_window[float32]" in words
    assert "PASSED test_conformance.py::TestWindowless::test_attention_head_layouts[bfloat16]" in words
    assert "error " in words and "limit 1e-05" in words


@pytest.mark.parametrize(
    ("hook", "complaint"),
    [
        (
            "items[:] = [i for i in items if 'sliding_window' not in i.name]",
            f"These laws were taken out of the run: {LAW}.",
        ),
        (
            "items[:] = [i for i in items if 'sliding_window[float32' not in i.name]",
            f"These laws were taken out of the run: {LAW}.",
        ),
        (
            "[i.add_marker('xfail') for i in items if 'sliding_window' in i.name]",
            f"These laws are marked skip or xfail: {LAW}[bfloat16], {LAW}[float16], {LAW}[float32].",
        ),
    ],
)
def test_a_hook_that_takes_a_law_away_fails_the_run(tmp_path: Path, hook: str, complaint: str) -> None:
    words = pytest_run(tmp_path, conftest=f"def pytest_collection_modifyitems(items):\n    {hook}\n")
    assert complaint in words
    assert " passed" not in words.splitlines()[-1]


def test_a_hook_that_stands_in_for_the_tests_fails_the_run(tmp_path: Path) -> None:
    hook = "def pytest_pyfunc_call(pyfuncitem):\n    return 'sliding_window' in pyfuncitem.name or None\n"
    words = pytest_run(tmp_path, "-k", "sliding_window or head_layouts", conftest=hook)
    assert (
        f"These laws were never asked, though their tests ended: {LAW}[bfloat16], {LAW}[float16], {LAW}[float32]."
        in words
    )
    assert "error" in words.splitlines()[-1]
