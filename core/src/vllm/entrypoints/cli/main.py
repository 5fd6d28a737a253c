"""Owns the command `vllm`: which commands there are, and how errors and interruptions become messages and exit statuses.

Exit statuses: 0 done, 1 failed, 2 the command was written wrongly, 130 interrupted. Only the module of the command that is
run is imported, and nothing heavy before it starts to work.
"""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Any

from vllm.entrypoints.cli.argv import normalized
from vllm.entrypoints.cli.errors import UsageError
from vllm.errors import ConfigError, VllmError, near_names

__all__ = ["main"]

_COMMANDS = {
    "generate": "generate",
    "bench": "bench",
    "plugin": "plugin",
    "serve": "serve",
    "chat": "chat",
    "complete": "complete",
    "run-batch": "run_batch",
    "collect-env": "collect_env",
}
"""Command -> its module beside this one."""
_NOT_YET = {
    "bench sweep": "`vllm bench serve`, `vllm bench throughput` and `vllm bench latency` measure one setting each",
}
"""Commands of vLLM's that this release does not have -> what there is instead."""
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_FAILED, _MISUSED, _INTERRUPTED = 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; gives the exit status. `argv` is without the program's name."""
    try:
        return _run_and_flush(normalized(sys.argv[1:] if argv is None else argv))
    except KeyboardInterrupt:
        print("\nvllm: interrupted", file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone, e.g. `| head`
        _silence_stdout()
        return _FAILED
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        _silence_stdout()
        return _report(VllmError(f"The output could not be written: {error.strerror}."))
    except VllmError as error:
        return _report(error)


def _silence_stdout() -> None:
    """What is still in the buffer goes nowhere, or the interpreter complains at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run_and_flush(argv: Sequence[str]) -> int:
    try:
        status = _run(argv)
    except SystemExit as stop:  # argparse: --help, --version, or a usage error that it has printed
        status = stop.code if isinstance(stop.code, int) else _FAILED
    sys.stdout.flush()  # or what cannot be written is told by the interpreter at its end
    return status


def _run(argv: Sequence[str]) -> int:
    words = [word for word in argv if not word.startswith("-")]
    command = words[0] if words else None
    if command is not None:
        _check_command(command, " ".join(words[:2]))
    parser = _parser([command] if command else _COMMANDS)
    args, extras = parser.parse_known_args(argv)
    if command is None:
        parser.print_help()
        return 0 if not argv else _MISUSED
    if extras:
        from vllm.entrypoints.cli.flags import take_extras

        take_extras(extras, args, _innermost(parser, argv))
    if "--" not in argv and getattr(args, "positional", None):
        from vllm.entrypoints.cli.flags import refuse_flags_among_words

        refuse_flags_among_words(args.positional, _innermost(parser, argv))
    status: int = args.run(args)
    return status


def _parser(commands: Iterable[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="vllm",
        description="LLM inference; the hardware is a plugin.",
        allow_abbrev=False,
        epilog="vllm COMMAND --help tells more.",
    )
    parser.add_argument("-v", "--version", action=_Version, nargs=0, help="print the version and exit")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for command in commands:
        import_module(f"vllm.entrypoints.cli.{_COMMANDS[command]}").add_parser(subparsers)
    return parser


class _Version(argparse.Action):
    """The version is metadata of the distribution: looked up only when asked for."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option_string: Any = None) -> None:
        import vllm

        print(vllm.__version__)
        parser.exit(0)


def _check_command(command: str, with_next_word: str) -> None:
    for name in (command, with_next_word):
        if name in _NOT_YET:
            raise UsageError(f"`vllm {name}` is not in this release yet.", remedy=_NOT_YET[name])
    if command not in _COMMANDS:
        raise UsageError(
            f"There is no command `vllm {command}`; there are {', '.join(_COMMANDS)}.",
            candidates=near_names(command, _COMMANDS),
        )


def _innermost(parser: argparse.ArgumentParser, argv: Sequence[str]) -> argparse.ArgumentParser:
    """The parser of the command, or of the command's own command (`vllm bench latency`)."""
    for word in argv:
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction) and word in action.choices:
                parser = action.choices[word]
    return parser


def _report(error: VllmError) -> int:
    """One message. The traceback is for those who look into it."""
    if _wants_traceback():
        import traceback

        traceback.print_exception(type(error), error, error.__traceback__)
    print(f"vllm: {error}", file=sys.stderr)
    return _MISUSED if isinstance(error, UsageError) else _FAILED


def _wants_traceback() -> bool:
    from vllm import envs

    try:
        return envs.VLLM_LOGGING_LEVEL == "DEBUG"
    except ConfigError:  # the variable itself is what is wrong: it is reported by whoever read it first
        return False


if __name__ == "__main__":
    sys.exit(main())
