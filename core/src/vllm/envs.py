"""Owns the environment variables that vLLM honours: one table of name, type, default and meaning.

`envs.VLLM_PLUGINS` is the parsed value, read from the environment at each access, so that setting `os.environ` works at
any time before the value is used. A value that cannot be parsed raises `ConfigError` naming what was expected.
The annotations below give the types to readers and checkers; `TABLE` gives the rest; a test holds the two together.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vllm.errors import ConfigError, near_names

if TYPE_CHECKING:
    from pathlib import Path

VLLM_PLUGINS: tuple[str, ...] | None
VLLM_PLATFORM: str | None
VLLM_PLUGIN_PROBE_TIMEOUT_S: float
VLLM_LOGGING_LEVEL: str
VLLM_CONFIGURE_LOGGING: bool
VLLM_LOGGING_CONFIG_PATH: Path | None
VLLM_LOGGING_PREFIX: str
VLLM_LOGGING_STREAM: str
VLLM_LOGGING_COLOR: bool | None
NO_COLOR: bool | None
VLLM_LOG_STATS_INTERVAL: float
VLLM_ENABLE_V1_MULTIPROCESSING: bool
VLLM_WORKER_MULTIPROC_METHOD: str
VLLM_CPU_KVCACHE_SPACE: float | None
VLLM_CACHE_ROOT: Path
VLLM_CONFIG_ROOT: Path
VLLM_HOST_IP: str | None
VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS: float
VLLM_ENGINE_READY_TIMEOUT_S: float
VLLM_RPC_BASE_PATH: Path | None
VLLM_MAX_STOP_STRINGS: int
VLLM_MAX_N_SEQUENCES: int
VLLM_ALLOW_LONG_MAX_MODEL_LEN: bool
VLLM_API_KEY: str | None
VLLM_SERVER_DEV_MODE: bool
VLLM_HTTP_TIMEOUT_KEEP_ALIVE: int
VLLM_MAX_COMPLETION_PROMPTS: int
VLLM_CHAT_TEMPLATE_RENDER_TIMEOUT: float
VLLM_GRAMMAR_COMPILE_TIMEOUT: float
VLLM_HTTP_TIMEOUT_RECEIVE: float
VLLM_HTTP_TIMEOUT_SEND: float


@dataclass(frozen=True)
class Variable:
    """One environment variable: how its text becomes a value, its default as text, and what it does."""

    name: str
    parse: Callable[[str], Any]
    default: str | Callable[[], str] | None
    doc: str
    empty_means_unset: bool = True

    def default_text(self) -> str | None:
        return self.default() if callable(self.default) else self.default

    def value(self, environ: Mapping[str, str]) -> Any:
        text = environ.get(self.name)
        if text is None or (text == "" and self.empty_means_unset):
            text = self.default_text()
        if text is None:
            return None
        try:
            return self.parse(text)
        except ValueError as error:
            raise ConfigError(
                f"The environment variable {self.name} is {text!r}, but it must be {error}.",
                remedy=f"unset {self.name}, or give it such a value ({self.doc})",
            ) from None


# ---- parsers: text to value; on failure a ValueError that completes "it must be ..."

_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


def _flag(text: str) -> bool:
    folded = text.strip().casefold()
    if folded not in _TRUE + _FALSE:
        raise ValueError(f"one of {', '.join(_TRUE)} (on) or {', '.join(_FALSE)} (off)")
    return folded in _TRUE


def _seconds(text: str) -> float:
    return _positive(text, float, "a positive number of seconds")


def _gibibytes(text: str) -> float:
    return _positive(text, float, "a positive number of GiB")


def _count(text: str) -> int:
    return int(_positive(text, int, "a positive whole number"))


def _positive(text: str, number: type[int] | type[float], expected: str) -> float:
    try:
        value = number(text)
    except ValueError:
        raise ValueError(expected) from None
    if not 0 < value < float("inf"):
        raise ValueError(expected)
    return value


def _one_of(*choices: str) -> Callable[[str], str]:
    """A parser that accepts `choices` in any case and gives back their own spelling."""
    by_folded = {choice.casefold(): choice for choice in choices}

    def parse(text: str) -> str:
        folded = text.strip().casefold()
        if folded not in by_folded:
            raise ValueError(f"one of {', '.join(choices)}")
        return by_folded[folded]

    return parse


def _stream(text: str) -> str:
    """Both our short names and the spelling of `logging.config` (`ext://sys.stdout`)."""
    return _one_of("stdout", "stderr")(text.replace("ext://sys.", "", 1))


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def _path(text: str) -> Path:
    from pathlib import Path

    return Path(text).expanduser()


def _under(base_variable: str, fallback: str) -> Callable[[], str]:
    """The folder `vllm` in the user's XDG base folder."""
    return lambda: f"{os.environ.get(base_variable) or fallback}/vllm"


TABLE: tuple[Variable, ...] = (
    Variable(
        "VLLM_PLUGINS",
        _names,
        None,
        "comma list of the plugins (entry-point names) that may load, in every group; empty means none, unset means all",
        empty_means_unset=False,
    ),
    Variable(
        "VLLM_PLATFORM", str.strip, None, "name of the platform plugin to use, instead of choosing by what is usable"
    ),
    Variable(
        "VLLM_PLUGIN_PROBE_TIMEOUT_S", _seconds, "60", "how long a platform plugin may take to say if it is usable"
    ),
    Variable("VLLM_LOGGING_LEVEL", _one_of(*_LEVELS), "INFO", "least severe level that is logged"),
    Variable("VLLM_CONFIGURE_LOGGING", _flag, "1", "0 leaves logging to the program that imports vllm"),
    Variable(
        "VLLM_LOGGING_CONFIG_PATH", _path, None, "JSON file for logging.config.dictConfig, instead of our own set-up"
    ),
    Variable("VLLM_LOGGING_PREFIX", str, "", "text put before every log line"),
    Variable("VLLM_LOGGING_STREAM", _stream, "stderr", "stream of the log: stdout or stderr"),
    Variable("VLLM_LOGGING_COLOR", _flag, None, "1 or 0 forces colour on or off; unset means only on a terminal"),
    Variable("NO_COLOR", lambda _text: True, None, "any value turns colour off (no-color.org)"),
    Variable("VLLM_LOG_STATS_INTERVAL", _seconds, "10", "seconds between two lines of engine statistics"),
    Variable("VLLM_ENABLE_V1_MULTIPROCESSING", _flag, "1", "0: servers run the engine core in a thread"),
    Variable(
        "VLLM_WORKER_MULTIPROC_METHOD", _one_of("spawn", "forkserver", "fork"), "spawn", "how workers are started"
    ),
    Variable(
        "VLLM_CPU_KVCACHE_SPACE", _gibibytes, None, "GiB of host memory for the KV cache where the device is the CPU"
    ),
    Variable("VLLM_CACHE_ROOT", _path, _under("XDG_CACHE_HOME", "~/.cache"), "folder for what vLLM may rebuild"),
    Variable("VLLM_CONFIG_ROOT", _path, _under("XDG_CONFIG_HOME", "~/.config"), "folder for the user's settings"),
    Variable("VLLM_HOST_IP", str.strip, None, "address that other ranks use to reach this machine"),
    Variable("VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS", _seconds, "300", "how long one step of a worker may take"),
    Variable("VLLM_ENGINE_READY_TIMEOUT_S", _seconds, "600", "how long an engine may take to start"),
    Variable("VLLM_RPC_BASE_PATH", _path, None, "folder of the sockets to engine cores; the temporary folder if unset"),
    Variable("VLLM_MAX_STOP_STRINGS", _count, "4", "most stop strings that one request may give"),
    Variable("VLLM_MAX_N_SEQUENCES", _count, "16384", "most sequences (n) that one request may ask for"),
    Variable(
        "VLLM_ALLOW_LONG_MAX_MODEL_LEN", _flag, "0", "1 allows a --max-model-len beyond what the model was made for"
    ),
    Variable("VLLM_API_KEY", str, None, "a key that requests to the server must show, beside those of --api-key"),
    Variable("VLLM_SERVER_DEV_MODE", _flag, "0", "1 serves routes for development: /sleep, /collective_rpc and others"),
    Variable("VLLM_HTTP_TIMEOUT_KEEP_ALIVE", _count, "5", "seconds that the server keeps an idle connection open"),
    Variable("VLLM_MAX_COMPLETION_PROMPTS", _count, "1024", "most prompts that one completion request may give"),
    Variable("VLLM_CHAT_TEMPLATE_RENDER_TIMEOUT", _seconds, "30", "how long a server may render one chat"),
    Variable("VLLM_GRAMMAR_COMPILE_TIMEOUT", _seconds, "5", "how long a schema, regex or grammar may take to compile"),
    Variable(
        "VLLM_HTTP_TIMEOUT_RECEIVE",
        _seconds,
        "60",
        "how long a request's head, or 16 KiB of its body, may take to come",
    ),
    Variable(
        "VLLM_HTTP_TIMEOUT_SEND", _seconds, "300", "how long a client may read nothing of an answer that waits for it"
    ),
)
_BY_NAME: Mapping[str, Variable] = {variable.name: variable for variable in TABLE}

_GONE: Mapping[str, str] = {
    "VLLM_USE_V1": "there is only one engine; unset it",
    "VLLM_ATTENTION_BACKEND": "use --attention-backend",
    "VLLM_TORCH_PROFILER_DIR": "this release has no profiler; unset it",
}

_NO_EFFECT_YET: Mapping[str, str] = {
    "VLLM_CONFIG_ROOT": "no settings of the user are read",
    "VLLM_HOST_IP": "all ranks are on one machine",
}


def __getattr__(name: str) -> Any:
    if name not in _BY_NAME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _BY_NAME[name].value(os.environ)


def __dir__() -> list[str]:
    return sorted([*globals(), *_BY_NAME])


def is_set(name: str) -> bool:
    """Whether the environment gives `name` a value (an empty one counts only where empty has a meaning)."""
    return name in os.environ and not (os.environ[name] == "" and _BY_NAME[name].empty_means_unset)


def complaints(environ: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """One sentence for each VLLM_ variable that is misspelt, or not read (any more, or yet). Others belong to plugins: no word."""
    given = os.environ if environ is None else environ
    ours = sorted(name for name in given if name.startswith("VLLM_"))
    return tuple(sentence for name in ours if (sentence := _complaint(name, given[name])))


def _complaint(name: str, text: str) -> str | None:
    if name in _NO_EFFECT_YET and text not in ("", "0"):
        return f"The environment variable {name} has no effect in this release: {_NO_EFFECT_YET[name]}."
    if name in _BY_NAME:
        return None
    if name in _GONE:
        return f"The environment variable {name} is no longer read: {_GONE[name]}."
    near = near_names(name, _BY_NAME, limit=1, cutoff=0.88)
    return f"The environment variable {name} is not known and has no effect. Did you mean {near[0]}?" if near else None
