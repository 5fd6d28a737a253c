"""Owns a server's life once its engine runs: serving, signals, draining, and what follows an engine's death.

SIGTERM or SIGINT: no new connection; what runs has `--shutdown-timeout` seconds, then it ends with an error; a second signal
ends it at once. A dead engine: every request has its error already; the server ends with status 1, or starts another engine.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import uvicorn
import uvloop

from vllm import envs
from vllm.entrypoints.openai.api_server import build_app, routes_in
from vllm.entrypoints.openai.http_protocol import BoundedConnection
from vllm.entrypoints.openai.server_state import ServerState
from vllm.entrypoints.openai.template_helpers import close_template_helpers, start_template_helper
from vllm.errors import VllmError
from vllm.logger import init_logger, log_like_us

if TYPE_CHECKING:
    import socket

    from fastapi import FastAPI

    from vllm.engine.async_llm import AsyncLLM
    from vllm.engine.core_client.interface import CoreClient
    from vllm.entrypoints.openai.listener import Listener
    from vllm.entrypoints.openai.server_args import ServerArgs

__all__ = ["run_server"]

logger = init_logger(__name__)

StartAgain = Callable[[Callable[["CoreClient"], None]], "AsyncLLM"]
"""Starts another engine; calls its argument with the core as soon as that has begun to start."""
_BACKLOG = 2048
LAST_WORDS_s = 2.0
"""How long clients may take to read the errors of requests that were ended."""


def run_server(engine: AsyncLLM, args: ServerArgs, listener: Listener, *, start_again: StartAgain) -> int:
    """Serve on the listener until it is over, and shut the engine down; gives the exit status. Takes the main thread's signals."""
    state = ServerState(engine, args)
    app = build_app(engine, args, state=state)
    return uvloop.run(_Life(state, app, listener, start_again).live())


class _Server(uvicorn.Server):
    """uvicorn, without its handling of signals: ours."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()
        """Connections are taken."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    def cut_connections(self) -> None:
        """Close what is open, whether its client reads or not."""
        for connection in list(self.server_state.connections):
            if connection.transport is not None:
                connection.transport.abort()


class _Life:
    """One run of one server."""

    def __init__(self, state: ServerState, app: FastAPI, listener: Listener, start_again: StartAgain) -> None:
        self._state, self._listener, self._start_again = state, listener, start_again
        self._server = _Server(_uvicorn_config(app, state.args))
        self._restarts_left = state.args.restart_engine
        self._state.comes_back = self._restarts_left > 0
        self._stopping = False
        self._starting: CoreClient | None = None
        """A core that follows one that died, until it takes requests."""
        self._exit_status = 0
        self._engine_lock = asyncio.Lock()
        _log_routes(app)

    async def live(self) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled, number)
        watching = asyncio.create_task(self._watch_engine())
        ahead = asyncio.create_task(self._work_ahead())
        logger.info("Starting vLLM server on %s", self._listener.url)
        self._listener.socket.listen(
            _BACKLOG
        )  # before uvicorn says "Application startup complete.", which people wait for
        try:
            await self._server.serve(sockets=[self._listener.socket])
        finally:
            self._stopping = True
            async with self._engine_lock:  # until one that was being started is gone
                await asyncio.to_thread(self._state.engine.shutdown)
            await watching
            ahead.cancel()
            await asyncio.wait((ahead,))
            await asyncio.to_thread(close_template_helpers)
        return self._exit_status

    async def _work_ahead(self) -> None:
        """What the first requests would wait for is begun once the server is ready, which waits for none of it."""
        await self._server.ready.wait()
        await start_template_helper(self._state.engine)

    # -- signals --------------------------------------------------------------------------------------------------------------

    def _signalled(self, number: int) -> None:
        name, running = signal.Signals(number).name, self._state.engine.num_unfinished_requests
        if self._stopping:
            logger.warning("%s again: the %d requests that run are ended.", name, running)
            self._end_requests()
            return
        patience_s = self._state.args.shutdown_timeout
        logger.info("%s: the server stops; the %d requests that run have %g s to end.", name, running, patience_s)
        self._stop()
        asyncio.get_running_loop().call_later(patience_s, self._end_requests)

    def _stop(self) -> None:
        self._stopping = self._server.should_exit = True
        if self._starting is not None:  # nobody will need it
            self._starting.give_up()

    def _begun(self, client: CoreClient) -> None:
        """Another core starts; called in another thread."""
        self._starting = client
        if self._stopping:
            client.give_up()

    def _end_requests(self) -> None:
        """What still runs ends with an error, which its client gets if it reads."""
        self._state.engine.end_requests("The server is shutting down.")
        asyncio.get_running_loop().call_later(LAST_WORDS_s, self._server.cut_connections)

    # -- the engine's death ---------------------------------------------------------------------------------------------------

    async def _watch_engine(self) -> None:
        """Whenever the engine dies: another one, or the end."""
        while not self._stopping:
            await self._state.engine.wait_until_dead()
            if not self._stopping and not await self._replace_engine() and not self._stopping:
                self._exit_status = 1
                self._stop()
                asyncio.get_running_loop().call_later(LAST_WORDS_s, self._server.cut_connections)

    async def _replace_engine(self) -> bool:
        """Whether there is a new engine."""
        if not self._restarts_left:
            logger.error(
                "The engine has died: the server ends with exit status 1 (--restart-engine N would try again)."
            )
            return False
        self._restarts_left -= 1
        self._state.comes_back = True
        logger.warning("The engine has died and is started again; %d restarts are left.", self._restarts_left)
        async with self._engine_lock:
            try:
                await asyncio.to_thread(self._state.engine.shutdown)
                self._state.engine = await asyncio.to_thread(self._start_again, self._begun)
            except Exception as error:  # noqa: BLE001 - whatever it is, a server without an engine must not stay
                self._tell_failed_start(error)
                self._state.comes_back = False
                return False
            finally:
                self._starting = None
        self._state.comes_back = self._restarts_left > 0
        logger.info("The engine runs again.")
        return True

    def _tell_failed_start(self, error: Exception) -> None:
        if self._stopping:
            logger.info("The engine is not started again, because the server stops.")
            return
        exc_info = None if isinstance(error, VllmError) else error
        logger.error("The engine cannot be started again: %s", error, exc_info=exc_info)


def _uvicorn_config(app: FastAPI, args: ServerArgs) -> uvicorn.Config:
    log_like_us("uvicorn", args.uvicorn_log_level)
    return uvicorn.Config(
        app,
        http=BoundedConnection,
        ws="none",
        log_config=None,
        access_log=not args.disable_uvicorn_access_log,
        timeout_keep_alive=envs.VLLM_HTTP_TIMEOUT_KEEP_ALIVE,
        ssl_keyfile=args.ssl_keyfile,
        ssl_certfile=args.ssl_certfile,
        ssl_ca_certs=args.ssl_ca_certs,
        ssl_cert_reqs=args.ssl_cert_reqs,
        ssl_ciphers=args.ssl_ciphers or "TLSv1",  # uvicorn's own default
    )


def _log_routes(app: FastAPI) -> None:
    logger.info("Available routes are:")
    for route in routes_in(app.routes):
        logger.info("Route: %s, Methods: %s", route.path, ", ".join(sorted(route.methods or ())))
