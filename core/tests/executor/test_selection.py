"""Which executor, which worker class: names, dotted paths, extensions, and what is refused."""

from __future__ import annotations

import pytest

from core.tests.executor.fake_worker import CallsWorkers, FakePlatform, FakeWorker, fake_config
from vllm.errors import ConfigError
from vllm.executor.selection import create_executor, executor_class
from vllm.executor.uniproc import UniProcExecutor
from vllm.executor.worker_factory import worker_class


class OtherExecutor(UniProcExecutor):
    """An executor that a user brings."""


class Clashing:
    """An extension that would replace what the engine calls."""

    def load_model(self) -> None: ...

    def _execute(self) -> None: ...

    def harmless(self) -> None: ...


def test_names_and_dotted_paths() -> None:
    assert executor_class("uni") is UniProcExecutor
    assert executor_class(f"{__name__}.OtherExecutor") is OtherExecutor
    assert isinstance(create_executor(fake_config(backend=f"{__name__}:OtherExecutor")), OtherExecutor)


def test_unknown_name_offers_near_ones() -> None:
    with pytest.raises(ConfigError, match=r"(?s)'unii'.*one of uni, mp.*Did you mean: uni\?"):
        executor_class("unii")


@pytest.mark.parametrize("path", ["nowhere.Executor", "vllm.executor.uniproc.Nothing", f"{__name__}.Clashing"])
def test_bad_path_names_the_option(path: str) -> None:
    with pytest.raises(ConfigError, match="distributed_executor_backend names"):
        executor_class(path)


def test_worker_of_the_platform_or_the_user() -> None:
    assert worker_class(fake_config(), FakePlatform()) is FakeWorker
    with pytest.raises(ConfigError, match=r"worker_cls names 'nowhere\.Worker'"):
        worker_class(with_parallel(worker_cls="nowhere.Worker"), FakePlatform())


def test_extension_is_mixed_in() -> None:
    path = f"{CallsWorkers.__module__}.CallsWorkers"
    cls = worker_class(with_parallel(worker_extension_cls=path), FakePlatform())
    assert issubclass(cls, FakeWorker)
    assert issubclass(cls, CallsWorkers)


def test_extension_may_replace_nothing() -> None:
    with pytest.raises(ConfigError, match=r"Clashing defines _execute, load_model, which FakeWorker has"):
        worker_class(with_parallel(worker_extension_cls=f"{__name__}.Clashing"), FakePlatform())


def with_parallel(**changes: object):
    return fake_config().with_changes(parallel_config=changes)
