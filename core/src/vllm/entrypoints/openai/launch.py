"""Owns the order of a server's start: the address, the configuration, the engine core's process, and while that works, everything else."""

from __future__ import annotations

import gc
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from vllm.engine.core_client.start import start_core
from vllm.engine.request_log import RequestLog
from vllm.engine.tracing import RequestTracer, check_tracing
from vllm.entrypoints.openai.listener import check_tls, open_listener
from vllm.entrypoints.openai.parser_options import prepare_parsers
from vllm.entrypoints.openai.users_code import check_users_code
from vllm.executor.os_process import name_process, return_freed_memory
from vllm.logger import init_logger, set_process_name
from vllm.plugins import load_general_plugins

if TYPE_CHECKING:
    from types import FrameType

    from vllm.config.engine_args import EngineArgs
    from vllm.engine.async_llm import AsyncLLM
    from vllm.engine.core_client.interface import CoreClient
    from vllm.entrypoints.openai.listener import Listener
    from vllm.entrypoints.openai.server_args import ServerArgs

__all__ = ["serve"]

logger = init_logger(__name__)
NAME = "APIServer"
_OBJECTS_PER_COLLECTION = 50_000


def serve(engine_args: EngineArgs, args: ServerArgs) -> int:
    """Serve until SIGTERM or SIGINT (0), or until the engine has died (1). Raises VllmError where the server cannot start."""
    set_process_name(NAME, is_child=False)
    name_process(f"Vllm{NAME}")
    return_freed_memory()
    with _sigterm_ends_the_start():
        check_tls(args)
        listener = open_listener(args)
        try:
            return _serve_on(listener, engine_args, args)
        finally:
            listener.close()


def _serve_on(listener: Listener, engine_args: EngineArgs, args: ServerArgs) -> int:
    load_general_plugins()
    prepare_parsers(args)
    check_users_code(args)
    if args.otlp_traces_endpoint is not None:
        check_tracing(args.otlp_traces_endpoint)
    config = engine_args.create_engine_config()
    client = start_core(config)
    try:  # what is slow to import: the core starts meanwhile
        from vllm.engine.async_llm import AsyncLLM
        from vllm.entrypoints.openai.lifecycle import run_server
    except BaseException:
        client.close()
        raise
    engine = _observed(AsyncLLM(config, client=client), args)
    _collect_seldom()

    def start_again(begun: Callable[[CoreClient], None]) -> AsyncLLM:
        client = start_core(config)
        begun(client)
        return _observed(AsyncLLM(config, client=client), args)

    return run_server(engine, args, listener, start_again=start_again)


def _collect_seldom() -> None:
    """A token of a stream makes a handful of objects that live for a moment; the collector would look at them all the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_OBJECTS_PER_COLLECTION, 20, 50)


def _observed(engine: AsyncLLM, args: ServerArgs) -> AsyncLLM:
    if args.enable_log_requests:
        engine.request_log = RequestLog(args.max_log_len)
    if args.otlp_traces_endpoint is not None:
        engine.request_tracer = RequestTracer(args.otlp_traces_endpoint, model=engine.model_config.served_model_name)
    return engine


@contextmanager
def _sigterm_ends_the_start() -> Iterator[None]:
    """Before the server answers signals itself, SIGTERM ends the program in order: its children and files go with it."""

    def end(_number: int, _frame: FrameType | None) -> None:
        raise SystemExit(0)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
