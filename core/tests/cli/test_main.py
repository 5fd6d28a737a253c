"""The command as a whole: statuses, messages, help; and that help costs no heavy import."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vllm.entrypoints.cli.main import main
from vllm.errors import VllmError


def _misuse(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Run a command that must fail with status 2; gives its message."""
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    return captured.err


@pytest.mark.parametrize(
    "words, message",
    [
        (
            "generat x",
            "vllm: There is no command `vllm generat`; there are generate, bench, plugin, serve, chat, complete, run-batch, collect-env.",
        ),
        ("serve a b", "vllm: One server serves one model, but a and b are given."),
        (
            "generate x --max-tokens many",
            "vllm: max_tokens (--max-tokens) is 'many', but it must be a whole number >= 1",
        ),
        ("generate x --max-modl-len 3", "Did you mean: --max-model-len"),
        ("generate x --speculative-config {}", "--speculative-config belongs to speculative decoding"),
        ("generate x --port=3", "--port belongs to the HTTP server"),
        (
            "serve --disable-log-requests",
            "--disable-log-requests was an option of older vLLM versions.\n  Remedy: leave it out: req",
        ),
        ("serve --structured-outputs-config.backend xgrammar", "--structured-outputs-config belongs to choosing"),
        ("generate x --device cpu", "--device was an option of older vLLM versions"),
        ("generate x --temperature 3", "`temperature` must be within [0, 2], got 3.0."),
        ("generate --file /nowhere/prompts", "--file /nowhere/prompts cannot be read"),
        ("generate --help=qqqq", "there is no such group, and no option matches"),
        ("generate x --max-tokens", "expected one argument"),
        ("bench latency extra", "vllm bench latency does not know what to do with 'extra'"),
        ("bench latency --num-iter 3", "Did you mean: --num-iters"),
        ("bench", "KIND"),
        ("bench sweep --model x", "vllm: `vllm bench sweep` is not in this release yet."),
        ("bench serve --percentile-metrics ttft,tfft", "it must be some of ttft,tpot,itl,e2el, comma between"),
        ("bench serve --metric-percentiles 50,101", "it must be percents from 0 to 100, comma between"),
        ("bench serve --save-result --result-dir /nope", "--result-dir /nope/result.json: there is no folder /nope."),
        ("run-batch -i /nowhere/requests", "A batch needs two files."),
        ("run-batch -i /nowhere/requests -o x", "--input-file /nowhere/requests is no file that can be read."),
        ("run-batch -i https://host/requests -o x", "https://host/requests is no local file."),
        ("run-batch --port 80", "--port belongs to the HTTP server"),
        ("chat --ur x", "Did you mean: --url"),
        ("bench startup --output-json /nope/x.json", "--output-json /nope/x.json: there is no folder /nope."),
        ("bench latency --output-json /", "--output-json / cannot be written."),
        ("bench throughput --output-json=/nope/x", "there is no folder /nope."),
        ("plugin list --jsn", "vllm plugin list has no option --jsn.\n  Did you mean: --json"),
    ],
)
def test_misuse_is_told_in_one_message(words: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert message in _misuse(capsys, *words.split(" "))


def test_an_unknown_flag_whose_value_holds_a_space_is_no_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--speculative-config belongs to" in _misuse(
        capsys, "serve", "m", '--speculative-config={"method": "ngram"}'
    )


def test_behind_two_dashes_a_word_is_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--", "--model=a b"]) == 1
    assert "There is no folder --model=a b" in capsys.readouterr().err


def test_failure_is_told_without_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", "x", "--model", "/nowhere/at/all"]) == 1
    captured = capsys.readouterr()
    assert "vllm: There is no folder /nowhere/at/all." in captured.err
    assert "Traceback" not in captured.err
    assert captured.out == ""


def test_the_traceback_is_there_for_those_who_want_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_LOGGING_LEVEL", "DEBUG")
    assert main(["generate", "x", "--model", "/nowhere/at/all"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_wrong_level_of_the_log_is_told_once_and_without_traceback() -> None:
    command = [sys.executable, "-m", "vllm.entrypoints.cli.main", "generate", "x"]
    environ = {**os.environ, "VLLM_LOGGING_LEVEL": "BOGUS"}
    done = subprocess.run(command, check=False, env=environ, capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.count("The environment variable VLLM_LOGGING_LEVEL is 'BOGUS'") == 1


@pytest.mark.parametrize("words", [["--version"], ["collect-env", "--json"]])
def test_a_full_disk_is_told_without_traceback(words: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "vllm.entrypoints.cli.main", *words]
        done = subprocess.run(command, check=False, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (1, "vllm: The output could not be written: No space left on device.\n")


def test_no_platform_reaches_the_user_word_for_word() -> None:
    code = "import sys; from vllm.entrypoints.cli.main import main; sys.exit(main(['generate', 'x']))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        env={"VLLM_PLUGINS": "", "VLLM_LOGGING_LEVEL": "ERROR"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("vllm: No platform is usable here")
    assert "cpu_ref" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_interruption_ends_cleanly(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("vllm.config.resolve.resolve_platform", interrupted)
    assert main(["generate", "x"]) == 130
    assert capsys.readouterr().err.endswith("vllm: interrupted\n")


def test_errors_that_are_nobody_s_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("vllm.config.resolve.resolve_platform", broken)
    with pytest.raises(ZeroDivisionError):
        main(["generate", "x"])


@pytest.mark.parametrize("words", [["--help"], ["-h"], []])
def test_help_names_the_commands(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    shown = capsys.readouterr().out
    for command in ("generate", "bench", "plugin", "collect-env"):
        assert command in shown


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    import vllm

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"{vllm.__version__}\n"


@pytest.mark.parametrize("command", ["generate", "bench latency", "bench throughput", "bench startup"])
def test_help_of_each_command(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    for topic, flag in (("", "--max-model-len"), ("=all", "--watermark"), ("=cache", "--block-size")):
        assert main([*command.split(), f"--help{topic}"]) == 0
        shown = capsys.readouterr().out
        assert shown.startswith(f"usage: vllm {command} ")
        assert flag in shown


@pytest.mark.parametrize("words", [["--help"], ["generate", "--help=all"]])
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    code = f"""
import sys
from vllm.entrypoints.cli.main import main
main({words!r})
print([name for name in ("torch", "transformers", "numpy", "yaml", "msgspec") if name in sys.modules], file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_usage_errors_are_vllm_s_errors_too() -> None:
    from vllm.entrypoints.cli.errors import UsageError, as_usage_errors

    with pytest.raises(UsageError, match=r"^word for word$"), as_usage_errors():
        raise VllmError("word for word")
