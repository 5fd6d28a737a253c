"""Owns the question to one platform plugin, "are you usable here, and where is your class?", and its answer with a reason.

Whatever the plugin does - raise, hang, return nonsense, ask for `current_platform` - becomes an answer about this plugin alone.
"""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn, cast

from vllm import envs
from vllm.errors import PluginError, Unavailable, in_a_sentence
from vllm.logger import init_logger
from vllm.plugins.discovery import Plugin
from vllm.plugins.dotted import load_dotted
from vllm.plugins.loading import import_plugin
from vllm.plugins.selection import left_out_because

if TYPE_CHECKING:
    from vllm.platforms.interface import Platform

__all__ = ["Unusable", "Usable", "ask", "asking", "refuse_while_asking"]

logger = init_logger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Usable:
    """A plugin whose hardware is there and whose Platform class is sound."""

    plugin: Plugin
    path: str
    platform_cls: type[Platform]


@dataclass(frozen=True, kw_only=True, slots=True)
class Unusable:
    """A plugin that cannot be used here, and why.

    `is_fault` tells a broken or unfitting plugin from absent hardware; `trace` is the plugin's own traceback where it raised.
    """

    plugin: Plugin
    reason: str
    remedy: str | None = None
    is_fault: bool = False
    trace: str | None = None
    probes: Mapping[str, str] = field(default_factory=dict, compare=False)
    """What the plugin looked for → what it found, where it says so."""

    def __str__(self) -> str:
        return self.reason + (f" Remedy: {self.remedy}." if self.remedy else "")


def ask(plugin: Plugin, *, on_imported: Callable[[], None] = lambda: None) -> Usable | Unusable:
    """Import the plugin, call its `register()`, load the class it names. Never raises for what the plugin does."""
    if (why := left_out_because(plugin)) is not None:
        return Unusable(plugin=plugin, reason=f"{why}.", remedy=f"add {plugin.name} to VLLM_PLUGINS")
    try:
        with asking(plugin.name):
            with _said_if_slow(plugin, "importing it"):
                register = _import_register(plugin)
            on_imported()
            path = _registered_path(register, plugin)
            with _said_if_slow(plugin, f"importing {path}"):
                return Usable(plugin=plugin, path=path, platform_cls=_checked_cls(plugin, path))
    except Unavailable as unavailable:
        return Unusable(
            plugin=plugin,
            reason=_sentence(unavailable.reason),
            remedy=_clause(unavailable.remedy),
            probes=unavailable.probes,
        )
    except PluginError as error:
        trace = "".join(traceback.format_exception(error.__cause__)) if error.__cause__ else None
        return Unusable(
            plugin=plugin, reason=_sentence(error.what), remedy=_clause(error.remedy), is_fault=True, trace=trace
        )


# ---- the steps; each raises Unavailable or PluginError


def _registered_path(register: Callable[[], object], plugin: Plugin) -> str:
    answer = _call_in_time(register, plugin)
    if answer is None:
        raise Unavailable(
            "it gave no reason (register() returned None)",
            f"ask the author of {plugin.distribution} to raise vllm.plugins.Unavailable(reason, remedy) instead",
        )
    if not isinstance(answer, str):
        raise PluginError(
            f"Its register() returned {answer!r} instead of the dotted path of a Platform class.",
            remedy=_tell_author(plugin),
        )
    return answer


def _import_register(plugin: Plugin) -> Callable[[], object]:
    try:
        register = import_plugin(plugin)
    except PluginError as error:
        if isinstance(error.__cause__, Unavailable):  # said at import instead of in register(): as good
            raise error.__cause__ from None
        raise
    if not callable(register):
        raise PluginError(
            f"Its entry point {plugin.value} is {register!r} and not a function.", remedy=_tell_author(plugin)
        )
    return cast("Callable[[], object]", register)


def _checked_cls(plugin: Plugin, path: str) -> type[Platform]:
    cls = _loaded(path, plugin)
    complaint = _complaint_about(cls, plugin.name)
    if complaint is not None:
        raise PluginError(f"Its register() returned {path!r}, {complaint}.", remedy=_tell_author(plugin))
    return cast("type[Platform]", cls)


def _loaded(path: str, plugin: Plugin) -> Any:
    try:
        return load_dotted(path)
    except Unavailable:
        raise
    except (Exception, SystemExit) as error:
        what = f"Its register() returned {path!r}, which cannot be loaded: {in_a_sentence(error)}"
        raise PluginError(what, remedy=_tell_author(plugin)) from error


def _complaint_about(cls: object, name: str) -> str | None:
    """What keeps `cls` from being the Platform class of the plugin `name`, as a clause; None if nothing."""
    from vllm.platforms.interface import Platform

    if not (isinstance(cls, type) and issubclass(cls, Platform)):
        return f"which is {cls!r} and no subclass of vllm.platforms.Platform"
    if cls.__abstractmethods__:
        return f"whose class lacks the mandatory methods {', '.join(sorted(cls.__abstractmethods__))}"
    own_name = getattr(cls, "name", None)  # declared by the contract, but without a value
    if own_name != name:
        return f"whose class attribute `name` is {own_name!r} where the entry point is called {name!r}"
    return None


# ---- while a plugin is being asked

_being_asked = threading.local()


@contextmanager
def asking(name: str) -> Iterator[None]:
    """Mark this thread as being inside the plugin `name`."""
    before = getattr(_being_asked, "name", None)
    _being_asked.name = name
    try:
        yield
    finally:
        _being_asked.name = before


def refuse_while_asking() -> None:
    """Raise where this thread is inside a plugin that is being asked: the answer that it wants depends on its own.

    Raises:
        PluginError: always there, never elsewhere.
    """
    name = getattr(_being_asked, "name", None)
    if name is not None:
        raise PluginError(
            f"The plugin {name} asks for vllm.platforms.current_platform while it is itself being asked whether it is usable.",
            remedy="take current_platform only in methods that run later, not in register() or while modules are imported",
        )


def _call_in_time(register: Callable[[], object], plugin: Plugin) -> object:
    """Call `register()` in a thread of its own, so that one which hangs costs its time limit and not the process."""
    answers: list[object] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            with asking(plugin.name):
                answers.append(register())
        except BaseException as error:  # noqa: BLE001 - carried to the asking thread and judged there
            errors.append(error)

    thread = threading.Thread(target=run, name=f"ask-{plugin.name}", daemon=True)
    thread.start()
    thread.join(envs.VLLM_PLUGIN_PROBE_TIMEOUT_S)
    for error in errors:
        _raise_as_answer(error, plugin)
    if not answers:
        raise _still_running(thread, plugin)
    return answers[0]


@contextmanager
def _said_if_slow(plugin: Plugin, activity: str) -> Iterator[None]:
    """An import cannot be broken off, nor moved to another thread (module locks), but a user who waits is told for whom."""
    asking_thread = threading.get_ident()

    def say() -> None:
        logger.warning(
            "The plugin %s keeps everything waiting: %s takes more than %g s%s. VLLM_PLUGINS without %s leaves it out.",
            plugin,
            activity,
            envs.VLLM_PLUGIN_PROBE_TIMEOUT_S,
            _where(asking_thread),
            plugin.name,
        )

    timer = threading.Timer(envs.VLLM_PLUGIN_PROBE_TIMEOUT_S, say)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _where(thread_id: int) -> str:
    """Where a thread stands now, as a clause."""
    frame = sys._current_frames().get(thread_id)
    stuck = traceback.extract_stack(frame)[-1] if frame else None
    return f", and is at {stuck.filename}:{stuck.lineno} in {stuck.name}()" if stuck else ""


def _raise_as_answer(error: BaseException, plugin: Plugin) -> NoReturn:
    if isinstance(error, Unavailable):
        raise error
    what = f"Its register() raised {in_a_sentence(error)}"
    remedy = f"{_tell_author(plugin)}; where its hardware is absent it should raise vllm.plugins.Unavailable"
    raise PluginError(what, remedy=remedy) from error


def _still_running(thread: threading.Thread, plugin: Plugin) -> PluginError:
    where = _where(thread.ident or 0)
    return PluginError(
        f"Its register() has not returned after {envs.VLLM_PLUGIN_PROBE_TIMEOUT_S:g} s{where}.",
        remedy=f"{_tell_author(plugin)}, or give it longer with VLLM_PLUGIN_PROBE_TIMEOUT_S",
    )


# ---- words


def _tell_author(plugin: Plugin) -> str:
    return f"this is a fault of {plugin.distribution} {plugin.version}; tell its author"


def _sentence(clause: str) -> str:
    return clause if clause.endswith((".", "!", "?")) else f"{clause}."


def _clause(sentence: str | None) -> str | None:
    return sentence.rstrip(".") if sentence else None
