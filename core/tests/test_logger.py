"""The log as a whole process writes it: format, stream, prefixes, colour, levels, and what leaves it alone."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from core.tests.plugin_site import PluginSite

SAY = """
from vllm.logger import init_logger, set_process_name
logger = init_logger("vllm.part")
logger.info("hello %s", "world")
"""
STAMP = r"\d\d-\d\d \d\d:\d\d:\d\d <string>:\d+\] "


@pytest.fixture
def site(tmp_path: Path) -> PluginSite:
    return PluginSite(tmp_path / "site")


def test_the_promised_line_on_standard_error(site: PluginSite) -> None:
    result = site.run(SAY)
    assert re.fullmatch(rf"INFO {STAMP}hello world\n", result.stderr)
    assert result.stdout == ""


def test_the_stream_and_the_prefix_can_be_changed(site: PluginSite) -> None:
    result = site.run(SAY, VLLM_LOGGING_STREAM="stdout", VLLM_LOGGING_PREFIX="[node3] ")
    assert re.fullmatch(rf"\[node3\] INFO {STAMP}hello world\n", result.stdout)
    assert result.stderr == ""


def test_a_named_process_stands_before_every_line_of_a_traceback(site: PluginSite) -> None:
    code = (
        SAY
        + "\nimport os; print(os.getpid())\nset_process_name('EngineCore')\ntry: 1 / 0\nexcept ValueError: pass\n"
        + ("except ZeroDivisionError: logger.exception('it broke')")
    )
    result = site.run(code)
    head = rf"\(EngineCore pid={result.stdout.strip()}\) ERROR {STAMP}"
    first, *rest = result.stderr.splitlines()[1:]
    assert re.fullmatch(rf"{head}it broke", first)
    assert all(re.match(head, line) for line in rest)
    assert rest[-1].endswith("ZeroDivisionError: division by zero")


@pytest.mark.parametrize(
    "env, coloured",
    [
        ({}, False),  # a pipe is no terminal
        ({"VLLM_LOGGING_COLOR": "1"}, True),
        ({"VLLM_LOGGING_COLOR": "1", "NO_COLOR": "1"}, True),  # what is said to vLLM comes before what is said to all
        ({"VLLM_LOGGING_COLOR": "0"}, False),
    ],
)
def test_colour_only_where_wanted(site: PluginSite, env: dict[str, str], coloured: bool) -> None:
    assert ("\033[" in site.run(SAY, **env).stderr) == coloured


@pytest.mark.parametrize("no_color, coloured", [("", True), ("1", False)])
def test_colour_on_a_terminal(monkeypatch: pytest.MonkeyPatch, no_color: str, coloured: bool) -> None:
    import io

    from vllm.logger import _wants_colour

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("VLLM_LOGGING_COLOR", raising=False)
    monkeypatch.setenv("NO_COLOR", no_color)
    assert _wants_colour(Terminal()) == coloured


def test_the_level(site: PluginSite) -> None:
    assert site.run(SAY, VLLM_LOGGING_LEVEL="warning").stderr == ""
    assert "a detail" in site.run(SAY + "logger.debug('a detail')", VLLM_LOGGING_LEVEL="DEBUG").stderr


def test_what_another_library_does_to_its_logger_leaves_ours_alone(site: PluginSite) -> None:
    code = """
    import logging
    from vllm.logger import init_logger, log_like_us
    log_like_us("uvicorn", "info")
    logging.getLogger("uvicorn").info("theirs")
    logging.getLogger("uvicorn").handlers.clear()
    init_logger("vllm.part").info("ours")
    """
    assert [line.partition("] ")[2] for line in site.run(code).stderr.splitlines()] == ["theirs", "ours"]


def test_a_wrong_setting_that_was_mended_is_forgotten(site: PluginSite) -> None:
    code = """
    import os
    from vllm.errors import ConfigError
    from vllm.logger import init_logger
    logger = init_logger("vllm.part")
    for level in ("LOUD", "LOUD", "INFO"):
        os.environ["VLLM_LOGGING_LEVEL"] = level
        try:
            logger.info("said")
        except ConfigError:
            print("refused")
    """
    done = site.run(code)
    assert done.stdout == "refused\n" * 2 and done.stderr.count("said") == 1


def test_once_is_once_per_message_and_tells_the_callers_line(site: PluginSite) -> None:
    code = SAY + "for value in (1, 1, 2):\n    logger.warning_once('odd: %d', value)\n    logger.info_once('note')\n"
    lines = site.run(code).stderr.splitlines()[1:]
    assert [line.partition("] ")[2] for line in lines] == ["odd: 1", "note", "odd: 2"]
    assert [re.search(r"<string>:(\d+)", line).group(1) for line in lines] == ["6", "7", "6"]


def test_a_plugins_logger_shares_the_set_up(site: PluginSite) -> None:
    code = "from vllm.logger import init_logger\ninit_logger('vllm_mychip.worker').info('warm')"
    assert site.run(code).stderr.endswith("warm\n")


def test_importing_and_making_a_logger_sets_nothing_up(site: PluginSite) -> None:
    code = """
    import logging, vllm, vllm.errors
    from vllm.logger import init_logger
    init_logger("vllm.part")
    print(logging.getLogger("vllm").handlers, logging.getLogger().handlers)
    """
    assert site.run(code).stdout == "[] []\n"


def test_logging_can_be_left_to_the_program(site: PluginSite) -> None:
    code = "import logging; logging.basicConfig(format='mine %(message)s', level='INFO')\n" + SAY
    assert site.run(code, VLLM_CONFIGURE_LOGGING="0").stderr == "mine hello world\n"


def test_a_programs_own_handlers_do_not_double_our_lines(site: PluginSite) -> None:
    code = "import logging; logging.basicConfig(format='mine %(message)s', level='INFO')\n" + SAY
    assert site.run(code).stderr.count("hello world") == 1


def test_a_json_file_replaces_the_set_up(site: PluginSite) -> None:
    path = site.folder / "logging.json"
    handler = {"class": "logging.StreamHandler", "formatter": "plain", "stream": "ext://sys.stdout"}
    path.write_text(
        json.dumps(
            {
                "version": 1,
                "formatters": {"plain": {"format": "%(name)s says %(message)s"}},
                "handlers": {"out": handler},
                "loggers": {"vllm": {"handlers": ["out"], "level": "INFO"}},
            }
        )
    )
    assert site.run(SAY, VLLM_LOGGING_CONFIG_PATH=str(path)).stdout == "vllm.part says hello world\n"


@pytest.mark.parametrize(
    "env, expected",
    [
        ({"VLLM_LOGGING_CONFIG_PATH": "/nowhere.json"}, "/nowhere.json cannot be used: FileNotFoundError: "),
        ({"VLLM_LOGGING_CONFIG_PATH": "bad.json"}, "bad.json cannot be used: JSONDecodeError: "),
        (
            {"VLLM_LOGGING_CONFIG_PATH": "bad.json", "VLLM_CONFIGURE_LOGGING": "0"},
            "VLLM_CONFIGURE_LOGGING=0 and VLLM_LOGGING_CONFIG_PATH=bad.json contradict each other.",
        ),
        ({"VLLM_LOGGING_LEVEL": "LOUD"}, "VLLM_LOGGING_LEVEL is 'LOUD', but it must be one of DEBUG, INFO,"),
    ],
)
def test_a_wrong_setting_is_a_clear_error(site: PluginSite, env: dict[str, str], expected: str) -> None:
    (site.folder / "bad.json").write_text("{")
    result = site.run(SAY, check=False, **env)
    assert "vllm.errors.ConfigError" in result.stderr
    assert expected in result.stderr
