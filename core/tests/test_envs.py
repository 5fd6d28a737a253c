"""Environment variables: one table, read when asked, wrong values named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from vllm import envs
from vllm.errors import ConfigError


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in envs.TABLE:
        monkeypatch.delenv(variable.name, raising=False)


def test_the_annotations_and_the_table_name_the_same_variables() -> None:
    annotated = {
        name for name in envs.__annotations__ if name.isupper() and not name.startswith("_") and name != "TABLE"
    }
    assert annotated == {variable.name for variable in envs.TABLE}


def test_every_default_parses_and_every_variable_is_documented() -> None:
    for variable in envs.TABLE:
        getattr(envs, variable.name)
        assert variable.doc


@pytest.mark.parametrize(
    "name, text, expected",
    [
        ("VLLM_PLUGINS", "a, b,,a", ("a", "b")),
        ("VLLM_PLUGINS", "", ()),
        ("VLLM_PLATFORM", "", None),
        ("VLLM_PLATFORM", " spare ", "spare"),
        ("VLLM_LOGGING_LEVEL", "debug", "DEBUG"),
        ("VLLM_LOGGING_STREAM", "ext://sys.stdout", "stdout"),
        ("VLLM_CONFIGURE_LOGGING", "off", False),
        ("VLLM_ENABLE_V1_MULTIPROCESSING", "", True),
        ("VLLM_CPU_KVCACHE_SPACE", "0.5", 0.5),
        ("VLLM_MAX_STOP_STRINGS", "8", 8),
        ("VLLM_CACHE_ROOT", "/x/y", Path("/x/y")),
    ],
)
def test_values(monkeypatch: pytest.MonkeyPatch, name: str, text: str, expected: Any) -> None:
    monkeypatch.setenv(name, text)
    assert getattr(envs, name) == expected


def test_values_are_read_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert envs.VLLM_LOG_STATS_INTERVAL == 10.0
    monkeypatch.setenv("VLLM_LOG_STATS_INTERVAL", "2.5")
    assert envs.VLLM_LOG_STATS_INTERVAL == 2.5


def test_the_cache_follows_the_users_base_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/base")
    assert Path("/base/vllm") == envs.VLLM_CACHE_ROOT
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert Path.home() / ".cache/vllm" == envs.VLLM_CACHE_ROOT


@pytest.mark.parametrize(
    "name, text, expected",
    [
        ("VLLM_CONFIGURE_LOGGING", "maybe", "one of 1, true, yes, on (on) or 0, false, no, off (off)"),
        ("VLLM_LOG_STATS_INTERVAL", "soon", "a positive number of seconds"),
        ("VLLM_LOG_STATS_INTERVAL", "-1", "a positive number of seconds"),
        ("VLLM_LOG_STATS_INTERVAL", "nan", "a positive number of seconds"),
        ("VLLM_CPU_KVCACHE_SPACE", "inf", "a positive number of GiB"),
        ("VLLM_MAX_STOP_STRINGS", "2.5", "a positive whole number"),
        ("VLLM_LOGGING_LEVEL", "LOUD", "one of DEBUG, INFO, WARNING, ERROR, CRITICAL"),
        ("VLLM_WORKER_MULTIPROC_METHOD", "thread", "one of spawn, forkserver, fork"),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str, expected: str
) -> None:
    monkeypatch.setenv(name, text)
    with pytest.raises(ConfigError) as caught:
        getattr(envs, name)
    assert caught.value.what == f"The environment variable {name} is {text!r}, but it must be {expected}."


def test_an_unknown_name_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="VLLM_NOTHING"):
        envs.VLLM_NOTHING  # noqa: B018


def test_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not envs.is_set("VLLM_PLUGINS")
    monkeypatch.setenv("VLLM_PLUGINS", "")
    monkeypatch.setenv("VLLM_PLATFORM", "")
    assert envs.is_set("VLLM_PLUGINS")
    assert not envs.is_set("VLLM_PLATFORM")


def test_complaints_name_misspelt_and_gone_variables_and_leave_plugins_alone() -> None:
    given = {"VLLM_PLUGIN": "x", "VLLM_USE_V1": "1", "VLLM_MYCHIP_STREAMS": "2", "VLLM_PLUGINS": "x", "PATH": "/"}
    assert envs.complaints(given) == (
        "The environment variable VLLM_PLUGIN is not known and has no effect. Did you mean VLLM_PLUGINS?",
        "The environment variable VLLM_USE_V1 is no longer read: there is only one engine; unset it.",
    )


def test_variables_without_effect_are_said_to_be_so() -> None:
    (said,) = envs.complaints({"VLLM_CONFIG_ROOT": "/x", "VLLM_PLUGINS": ""})
    assert said == (
        "The environment variable VLLM_CONFIG_ROOT has no effect in this release: no settings of the user are read."
    )
    assert envs.complaints({"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_HOST_IP": ""}) == ()
    assert envs.complaints({"VLLM_CACHE_ROOT": "/x"}) == ()  # plugins keep there what they compiled


def test_every_variable_is_read_somewhere_or_said_to_have_no_effect() -> None:
    source = Path(envs.__file__).parent
    texts = [path.read_text() for path in source.rglob("*.py") if path != Path(envs.__file__)]
    by_plugins = ("VLLM_CPU_KVCACHE_SPACE", "VLLM_CACHE_ROOT")
    for name in (variable.name for variable in envs.TABLE):
        is_read = name in by_plugins or any(f"envs.{name}" in text for text in texts)
        assert is_read != (name in envs._NO_EFFECT_YET), name
