"""Owns the C interface of the runtime for tests, and running a scenario in a process of its own: settings are read once per process.

A scenario is a module-level function of a test file that takes an `Acl` and returns something JSON can carry.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import json
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest

if importlib.util.find_spec("torch_npu") is None:
    pytest.skip("torch_npu is not installed, whose headers the simulator is compiled with", allow_module_level=True)

TO_DEVICE, TO_HOST, ON_DEVICE = 1, 2, 3
EXTERNAL = 0x20
OUT_OF_MEMORY, INVALID = 207001, 107000
GLOBAL, THREAD_LOCAL, RELAXED = 0, 1, 2
_LIMIT_S = 500

_POINTER, _SIZE, _INT = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int32
_ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "aclrtSetDevice": (_INT,),
    "aclrtMalloc": (_POINTER, _SIZE, _INT),
    "aclrtFree": (_POINTER,),
    "aclrtGetMemInfo": (_INT, _POINTER, _POINTER),
    "aclrtMallocHost": (_POINTER, _SIZE),
    "aclrtFreeHost": (_POINTER,),
    "aclrtMemcpy": (_POINTER, _SIZE, _POINTER, _SIZE, _INT),
    "aclrtMemcpyAsync": (_POINTER, _SIZE, _POINTER, _SIZE, _INT, _POINTER),
    "aclrtMemset": (_POINTER, _SIZE, _INT, _SIZE),
    "aclrtMemsetAsync": (_POINTER, _SIZE, _INT, _SIZE, _POINTER),
    "aclrtReserveMemAddress": (_POINTER, _SIZE, _SIZE, _POINTER, ctypes.c_uint64),
    "aclrtReleaseMemAddress": (_POINTER,),
    "aclrtMallocPhysical": (_POINTER, _SIZE, _POINTER, ctypes.c_uint64),
    "aclrtFreePhysical": (_POINTER,),
    "aclrtMapMem": (_POINTER, _SIZE, _SIZE, _POINTER, ctypes.c_uint64),
    "aclrtUnmapMem": (_POINTER,),
    "aclrtCreateStream": (_POINTER,),
    "aclrtDestroyStream": (_POINTER,),
    "aclrtDestroyStreamForce": (_POINTER,),
    "aclrtStreamQuery": (_POINTER, _POINTER),
    "aclrtSynchronizeStream": (_POINTER,),
    "aclrtSynchronizeStreamWithTimeout": (_POINTER, _INT),
    "aclrtSynchronizeDevice": (),
    "aclrtCreateEventExWithFlag": (_POINTER, ctypes.c_uint32),
    "aclrtDestroyEvent": (_POINTER,),
    "aclrtRecordEvent": (_POINTER, _POINTER),
    "aclrtResetEvent": (_POINTER, _POINTER),
    "aclrtStreamWaitEvent": (_POINTER, _POINTER),
    "aclrtSynchronizeEvent": (_POINTER,),
    "aclrtQueryEventStatus": (_POINTER, _POINTER),
    "aclrtEventElapsedTime": (_POINTER, _POINTER, _POINTER),
    "aclrtLaunchCallback": (_POINTER, _POINTER, _INT, _POINTER),
    "aclrtLaunchHostFunc": (_POINTER, _POINTER, _POINTER),
    "aclrtSubscribeReport": (ctypes.c_uint64, _POINTER),
    "aclrtProcessReport": (_INT,),
    "aclrtValueWrite": (_POINTER, ctypes.c_uint64, ctypes.c_uint32, _POINTER),
    "aclrtValueWait": (_POINTER, ctypes.c_uint64, ctypes.c_uint32, _POINTER),
    "aclrtDeviceTaskAbort": (_INT, ctypes.c_uint32),
    "aclmdlRICaptureBegin": (_POINTER, _INT),
    "aclmdlRICaptureEnd": (_POINTER, _POINTER),
    "aclmdlRICaptureThreadExchangeMode": (_POINTER,),
    "aclmdlRIExecuteAsync": (_POINTER, _POINTER),
    "aclmdlRIDestroy": (_POINTER,),
    "aclmdlRICaptureTaskGrpBegin": (_POINTER,),
    "aclmdlRICaptureTaskGrpEnd": (_POINTER, _POINTER),
    "aclmdlRICaptureTaskUpdateBegin": (_POINTER, _POINTER),
    "aclmdlRICaptureTaskUpdateEnd": (_POINTER,),
}


class AclError(Exception):
    """A call gave another code than 0."""

    def __init__(self, name: str, code: int, message: str) -> None:
        super().__init__(f"{name} gave {code}: {message}")
        self.code = code
        self.message = message


class Acl:
    """The calls that the scenarios need, with exceptions for codes and numbers for handles."""

    def __init__(self, path: str) -> None:
        self.library = ctypes.CDLL(path)
        self.library.aclGetRecentErrMsg.restype = ctypes.c_char_p
        self.library.cann_sim_counters.restype = ctypes.c_char_p
        self.library.cann_sim_set_faults.restype = ctypes.c_char_p
        for name, arguments in _ARGUMENTS.items():
            getattr(self.library, name).argtypes = arguments
        self.call("aclrtSetDevice", 0)

    def call(self, name: str, *arguments: Any) -> None:
        code = self.library[name](*arguments) if name not in _ARGUMENTS else getattr(self.library, name)(*arguments)
        if code:
            raise AclError(name, code, self.library.aclGetRecentErrMsg().decode())

    def code_of(self, name: str, *arguments: Any) -> int:
        """The code of a call that may fail."""
        try:
            self.call(name, *arguments)
        except AclError as error:
            return error.code
        return 0

    def made(self, name: str, *arguments: Any) -> int:
        """A call whose first argument takes a handle."""
        handle = ctypes.c_void_p()
        self.call(name, ctypes.byref(handle), *arguments)
        return handle.value or 0

    def asked(self, name: str, handle: int) -> int:
        """A call whose second argument takes a status."""
        status = ctypes.c_int32()
        self.call(name, handle, ctypes.byref(status))
        return status.value

    def malloc(self, size: int) -> int:
        return self.made("aclrtMalloc", size, 0)

    def free_bytes(self) -> int:
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self.call("aclrtGetMemInfo", 0, ctypes.byref(free), ctypes.byref(total))
        return free.value

    def pinned(self, size: int, value: int = 0) -> ctypes.Array[ctypes.c_char]:
        address = self.made("aclrtMallocHost", size)
        ctypes.memset(address, value, size)
        return (ctypes.c_char * size).from_address(address)

    def stream(self) -> int:
        return self.made("aclrtCreateStream")

    def event(self, flag: int = 0) -> int:
        return self.made("aclrtCreateEventExWithFlag", flag)

    def fill(self, address: int, value: int, size: int, stream: int) -> None:
        self.call("aclrtMemsetAsync", address, size, value, size, stream)

    def copy(self, target: Any, source: Any, size: int, kind: int, stream: int) -> None:
        places = [at if isinstance(at, int) else ctypes.addressof(at) for at in (target, source)]
        self.call("aclrtMemcpyAsync", places[0], size, places[1], size, kind, stream)

    def write(self, address: int, content: bytes) -> None:
        self.call(
            "aclrtMemcpy",
            address,
            len(content),
            ctypes.addressof(ctypes.create_string_buffer(content)),
            len(content),
            TO_DEVICE,
        )

    def read(self, address: int, size: int) -> list[int]:
        buffer = ctypes.create_string_buffer(size)
        self.call("aclrtMemcpy", ctypes.addressof(buffer), size, address, size, TO_HOST)
        return list(buffer.raw)

    def synchronize(self, stream: int) -> None:
        self.call("aclrtSynchronizeStream", stream)

    def record(self, event: int, stream: int) -> None:
        self.call("aclrtRecordEvent", event, stream)

    def wait(self, stream: int, event: int) -> None:
        self.call("aclrtStreamWaitEvent", stream, event)

    def begin(self, stream: int, mode: int = GLOBAL) -> None:
        self.call("aclmdlRICaptureBegin", stream, mode)

    def end(self, stream: int) -> int:
        graph = ctypes.c_void_p()
        self.call("aclmdlRICaptureEnd", stream, ctypes.byref(graph))
        return graph.value or 0

    def replay(self, graph: int, stream: int) -> None:
        self.call("aclmdlRIExecuteAsync", graph, stream)

    def counters(self) -> Any:
        return json.loads(self.library.cann_sim_counters())


@cache
def runtime_library() -> str:
    """The runtime of the installed pair of wheels, built if it is not."""
    from cann_sim.build import build

    return str(build().libraries / "libascendcl.so")


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """How a scenario's process ended."""

    returncode: int
    answer: Any
    stderr: str


def _in_child(
    place: tuple[str, str], arguments: list[object], settings: dict[str, str], files: tuple[str, str]
) -> None:
    """Runs the scenario; its standard error goes to a file, which also keeps what is said on the way to a crash."""
    os.dup2(os.open(files[1], os.O_WRONLY), 2)
    for name in [name for name in os.environ if name.startswith("CANN_SIM_")]:
        del os.environ[name]
    library = settings.pop("library")
    os.environ.update(settings)
    sys.path.insert(0, str(Path(place[0]).parent))
    scenario = getattr(importlib.import_module(Path(place[0]).stem), place[1])
    Path(files[0]).write_text(json.dumps(scenario(Acl(library), *arguments)))


@cache
def _server() -> ForkServerContext:
    """Processes are forked from one that has imported what the tests import and has no runtime: cheap and fresh."""
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["pytest", "acl_calls"])
    return server


def start(scenario: Callable[..., object], *arguments: object, **settings: object) -> Ended:
    """Run a scenario in a process of its own, with `CANN_SIM_*` settings by their short names."""
    place = (str(sys.modules[scenario.__module__].__file__), scenario.__name__)
    given = {f"CANN_SIM_{name.upper()}": str(value) for name, value in settings.items()} | {
        "library": runtime_library()
    }
    with tempfile.NamedTemporaryFile("r") as answer, tempfile.NamedTemporaryFile("r") as errors:
        child = _server().Process(target=_in_child, args=(place, list(arguments), given, (answer.name, errors.name)))
        child.start()
        child.join(_LIMIT_S)
        if child.exitcode is None:
            child.kill()
            raise TimeoutError(f"{scenario.__name__} with {settings} did not end in {_LIMIT_S} s:\n{errors.read()}")
        text = answer.read()
        return Ended(returncode=child.exitcode, answer=json.loads(text) if text else None, stderr=errors.read())


def run(scenario: Callable[..., object], *arguments: object, **settings: object) -> Any:
    """What the scenario returns."""
    ended = start(scenario, *arguments, **settings)
    assert ended.returncode == 0, f"{scenario.__name__} with {settings} ended with {ended.returncode}:\n{ended.stderr}"
    return ended.answer


def torch_environment(environ: dict[str, str], settings: dict[str, object]) -> dict[str, str]:
    """The environment of a process that runs torch_npu on the simulator with these settings."""
    from cann_sim.activation import environment

    plain = {
        name: text for name, text in environ.items() if not name.startswith("CANN_SIM_") or name == "CANN_SIM_CACHE"
    }
    return plain | environment(plain, settings)
