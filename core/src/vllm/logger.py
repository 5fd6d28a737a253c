"""Owns how vLLM logs: `init_logger(__name__)`, the promised line format, process names, one set-up per process.

Line: `INFO 02-06 15:49:01 file.py:30] message`, on standard error; in child processes `(EngineCore pid=123) ` stands
before it. Nothing is set up by importing vllm, nor by making a logger: the first message that is logged does it.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Hashable, MutableMapping
from typing import TYPE_CHECKING, Any, TextIO

from vllm import envs
from vllm.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    _LoggerAdapter = logging.LoggerAdapter[logging.Logger]
else:
    _LoggerAdapter = logging.LoggerAdapter  # not subscriptable before Python 3.11

__all__ = ["VllmLogger", "init_logger", "is_child_process", "log_like_us", "process_name", "set_process_name"]

ROOT_NAME = "vllm"
DATE_FORMAT = "%m-%d %H:%M:%S"
_RESET, _GREY = "\033[0m", "\033[90m"
_COLOUR_BY_LEVEL = {
    "DEBUG": "\033[37m",
    "INFO": "\033[32m",
    "WARNING": "\033[33m",
    "ERROR": "\033[31m",
    "CRITICAL": "\033[1;31m",
}

_lock = threading.RLock()
_configured = False
_process_name: str | None = None
_is_child = False
_said_once: set[Hashable] = set()
_FRAMES_TO_CALLER = 3 if sys.version_info >= (3, 11) else 4  # from `_once`; older logging counts a frame of its own


class VllmLogger(_LoggerAdapter):
    """A standard logger that sets logging up at its first message, and knows how to say a thing only once."""

    def isEnabledFor(self, level: int) -> bool:
        _configure_once()
        return self.logger.isEnabledFor(level)

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        return msg, kwargs  # logging's own would drop the caller's `extra`

    def debug_once(self, msg: str, *args: Hashable) -> None:
        self._once(logging.DEBUG, msg, args)

    def info_once(self, msg: str, *args: Hashable) -> None:
        self._once(logging.INFO, msg, args)

    def warning_once(self, msg: str, *args: Hashable) -> None:
        self._once(logging.WARNING, msg, args)

    def _once(self, level: int, msg: str, args: tuple[Hashable, ...]) -> None:
        key = (self.logger.name, level, msg, args)
        with _lock:
            if key in _said_once:
                return
            _said_once.add(key)
        self.log(level, msg, *args, stacklevel=_FRAMES_TO_CALLER)


def init_logger(name: str) -> VllmLogger:
    """The logger of the module `name`. Plugins' loggers are hung below vLLM's, so that they share its handlers."""
    inside = name == ROOT_NAME or name.startswith(ROOT_NAME + ".")
    return VllmLogger(logging.getLogger(name if inside else f"{ROOT_NAME}.{name}"), {})


def set_process_name(name: str | None, *, is_child: bool = True) -> None:
    """Put `(name pid=N) ` before each line of this process; called first thing by every child process, and by a server."""
    global _process_name, _is_child
    _process_name, _is_child = name, is_child and name is not None


def is_child_process() -> bool:
    """Whether another process of ours started this one, and has said what is to be said once."""
    return _is_child


def log_like_us(name: str, level: str) -> None:
    """Let another library's logger write through our handlers, in our format. A logging configuration of the user's wins."""
    _configure_once()
    if envs.VLLM_CONFIGURE_LOGGING and envs.VLLM_LOGGING_CONFIG_PATH is None:
        other = logging.getLogger(name)
        other.handlers = list(logging.getLogger(ROOT_NAME).handlers)  # a list of its own: others empty theirs
        other.setLevel(level.upper() if level != "trace" else logging.DEBUG)
        other.propagate = False


def process_name() -> str | None:
    """The name that `set_process_name` gave this process, None in the caller's own."""
    return _process_name


def _configure_once() -> None:
    global _configured
    if _configured:
        return
    with _lock:
        if not _configured:
            _configured = True  # before the work: what it logs itself comes back here
            try:
                _configure()
            except BaseException:
                _configured = False  # a wrong setting is told at every message, not only at the first
                raise


def _configure() -> None:
    path = envs.VLLM_LOGGING_CONFIG_PATH
    if not envs.VLLM_CONFIGURE_LOGGING:
        if path is not None:
            raise ConfigError(
                f"VLLM_CONFIGURE_LOGGING=0 and VLLM_LOGGING_CONFIG_PATH={path} contradict each other.",
                remedy="unset one of the two",
            )
    elif path is not None:
        _configure_from_file(path)
    else:
        _configure_our_way(logging.getLogger(ROOT_NAME))


def _configure_our_way(root: logging.Logger) -> None:
    handler = _StandardStreamHandler(envs.VLLM_LOGGING_STREAM)
    handler.setFormatter(PrefixFormatter(prefix=envs.VLLM_LOGGING_PREFIX, colour=_wants_colour(handler.stream)))
    root.setLevel(envs.VLLM_LOGGING_LEVEL)
    root.addHandler(handler)  # last of what may fail
    root.propagate = False  # or a program with handlers of its own on the root logger prints every line twice


def _configure_from_file(path: Path) -> None:
    import json
    from logging.config import dictConfig

    try:
        dictConfig(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, AttributeError, ImportError) as error:
        raise ConfigError(
            f"VLLM_LOGGING_CONFIG_PATH={path} cannot be used: {type(error).__name__}: {error}.",
            remedy="give the path of a JSON file with a dictionary as logging.config.dictConfig takes it",
        ) from error


def _wants_colour(stream: TextIO) -> bool:
    if envs.VLLM_LOGGING_COLOR is not None:
        return envs.VLLM_LOGGING_COLOR
    return not envs.NO_COLOR and stream.isatty()


class _StandardStreamHandler(logging.StreamHandler[TextIO] if TYPE_CHECKING else logging.StreamHandler):  # type: ignore[misc]
    """Writes to what `sys.stderr` (or `sys.stdout`) is at that moment: programs and test runners exchange them."""

    def __init__(self, name: str) -> None:
        logging.Handler.__init__(self)
        self._stream_name = name

    @property
    def stream(self) -> TextIO:
        return sys.stdout if self._stream_name == "stdout" else sys.stderr


class PrefixFormatter(logging.Formatter):
    """Puts the prefix before every line of a message, so that tracebacks can be grepped by process too."""

    def __init__(self, *, prefix: str = "", colour: bool = False) -> None:
        super().__init__(datefmt=DATE_FORMAT)
        self._prefix, self._colour = prefix, colour

    def format(self, record: logging.LogRecord) -> str:
        record.message = record.getMessage()
        body = self._body(record)
        head = self._head(record)
        return "\n".join(head + line for line in body.split("\n"))

    def _head(self, record: logging.LogRecord) -> str:
        process = f"({_process_name} pid={os.getpid()}) " if _process_name else ""
        level, where = record.levelname, f"{self.formatTime(record, self.datefmt)} {record.filename}:{record.lineno}]"
        if self._colour:
            level = f"{_COLOUR_BY_LEVEL.get(level, '')}{level}{_RESET}"
            where = f"{_GREY}{where}{_RESET}"
        return f"{process}{self._prefix}{level} {where} "

    def _body(self, record: logging.LogRecord) -> str:
        parts = [record.message]
        if record.exc_info:
            parts.append(self.formatException(record.exc_info))
        if record.stack_info:
            parts.append(self.formatStack(record.stack_info))
        return "\n".join(parts)
