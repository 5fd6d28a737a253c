"""Owns the kit under pytest: one class whose test methods are the laws, sealed against taking any of them away.

    class TestMychip(PlatformConformance):
        platform = "mychip"

A repository's own hooks run beside it and could still rewrite a verdict: the authority is `vllm plugin test`, which runs no pytest.

An excused law is a skip that names the reason. Replacing, removing or marking a law is an error when it happens; laws that a conftest
deselects or marks are missed when the class starts.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import pytest

from vllm.errors import ConfigError
from vllm.platforms.capabilities import Feature
from vllm.platforms.interface import Platform
from vllm.testing.catalogue import all_laws
from vllm.testing.law import Law
from vllm.testing.report import Outcome, Status
from vllm.testing.runner import check_law
from vllm.testing.target import find_platform
from vllm.testing.tolerances import TOLERANCES
from vllm.testing.workplace import Workplace

__all__ = ["PlatformConformance"]

_FORBIDDEN_MARKS = frozenset({"skip", "skipif", "xfail"})
_COLLECTION = frozenset({"__test__", "__init__", "__new__", "setup_class", "setup_method", "setup"})
"""With these a class takes all its tests out of the run, or skips them before they begin."""


def _test_of(law: Law) -> Callable[..., None]:
    """The test method of one law."""

    def test_all(
        self: PlatformConformance, workplace: Workplace, record_property: Callable[[str, object], None]
    ) -> None:
        del self
        workplace.asked.add((law.full_name, None))
        _report(check_law(law, workplace, None), record_property)

    def test_dtype(
        self: PlatformConformance, workplace: Workplace, dtype: str, record_property: Callable[[str, object], None]
    ) -> None:
        del self
        workplace.asked.add((law.full_name, dtype))
        if dtype not in workplace.platform.supported_dtypes():
            pytest.skip(f"excused: {_why_not(workplace.platform, dtype)}")
        _report(check_law(law, workplace, dtype), record_property)

    test = pytest.mark.parametrize("dtype", TOLERANCES, scope="class")(test_dtype) if law.per_dtype else test_all
    test.__name__ = f"test_{law.area}_{law.name}"
    test.__doc__ = law.sentence
    return test


def _why_not(platform: Platform, dtype: str) -> str:
    """That float32 has a reason is a law of the contract."""
    why = f" ({platform.capability(Feature.FLOAT32)})" if dtype == "float32" else ""
    return f"{platform.name} does not name {dtype} in supported_dtypes(){why}"


def _report(outcome: Outcome, record_property: Callable[[str, object], None]) -> None:
    """The outcome as pytest's; the measured error goes into JUnit reports."""
    worst = outcome.worst
    if worst is not None:
        record_property("error", worst.error)
        record_property("limit", worst.limit)
        print(f"{worst.what}: error {worst.error:.3g}, limit {worst.limit:.3g}")
    if outcome.status in (Status.EXCUSED, Status.NOT_TESTABLE):
        pytest.skip(f"{outcome.status.value}: {outcome.detail}")
    if outcome.status is not Status.PASSED:
        pytest.fail(f"{outcome.law}: {outcome.sentence}\n{outcome.detail}", pytrace=False)


_LAWS: Mapping[str, Callable[..., None]] = MappingProxyType({test.__name__: test for test in map(_test_of, all_laws())})


class _Sealed(type):
    """Refuses, when a class is made and ever after, what would take a law away or weaken it."""

    def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> type:
        inherits = any("platform" in vars(base) for base in bases)
        if bases and not inherits and not isinstance(namespace.get("platform"), str):
            raise ConfigError(
                f"{name} names no platform.", remedy='write platform = "name of the entry point" in the class'
            )
        cls = super().__new__(mcs, name, bases, namespace)
        for base in (
            cls.__mro__[:-1] if bases else ()
        ):  # mixins too: what stands before the kit in the MRO would replace a law
            if not base.__dict__.get("_is_the_kit", False):
                for attribute, value in vars(base).items():
                    _refuse(name, attribute, value)
        return cls

    def __setattr__(cls, attribute: str, value: Any) -> None:
        _refuse(cls.__name__, attribute, value)
        super().__setattr__(attribute, value)

    def __delattr__(cls, attribute: str) -> None:
        _refuse(cls.__name__, attribute, None)
        super().__delattr__(attribute)


def _refuse(cls_name: str, attribute: str, value: Any) -> None:
    if attribute in _LAWS or attribute in ("workplace", "__getattribute__"):
        raise ConfigError(
            f"{cls_name} replaces or removes {attribute}, which is the conformance kit's.",
            cause="a platform that cannot keep a law",
            remedy="decline the feature, with the reason, in Platform.capabilities(): the laws that need it are excused then",
        )
    if attribute in _COLLECTION or _is_autouse(value):
        raise ConfigError(
            f"{cls_name} defines {attribute}, which runs before every law, or instead of it.",
            remedy="put it, and the tests that need it, into a class of their own",
        )
    marks = value if isinstance(value, list) else [value]
    forbidden = {*_FORBIDDEN_MARKS, "usefixtures"}
    weakening = [mark.name for mark in marks if attribute == "pytestmark" and mark.name in forbidden]
    if weakening:
        raise ConfigError(
            f"{cls_name} is marked {', '.join(weakening)}, which can take every law away.",
            remedy="decline features, with the reason, in Platform.capabilities()",
        )


def _is_autouse(value: object) -> bool:
    """Whether it is a fixture that every test of its class gets; the marker's name differs between versions of pytest."""
    for name in ("_fixture_function_marker", "_pytestfixturefunction"):
        if getattr(inspect.getattr_static(value, name, None), "autouse", False):
            return True
    return False


_SELECTING = ("keyword", "markexpr", "deselect", "lf", "last_failed", "stepwise")
"""pytest's options by which a person runs a part of the laws, which is no fault."""


def _complaint_about_selection(request: pytest.FixtureRequest) -> str | None:
    """Which laws of the class somebody's hook has taken out of this run, or marked; None if none."""
    items = [item for item in request.session.items if isinstance(item, pytest.Function) and item.cls is request.cls]
    marked = sorted({item.name for item in items for mark in item.iter_markers() if mark.name in _FORBIDDEN_MARKS})
    if marked:
        return f"These laws are marked skip or xfail: {', '.join(marked)}. Decline features in Platform.capabilities() instead."
    options = vars(request.config.option)
    if any(options.get(name) for name in _SELECTING) or any("::" in argument for argument in request.config.args):
        return None
    found = {(item.originalname, _dtype_of(item)) for item in items}
    wanted = {
        (f"test_{law.area}_{law.name}", dtype)
        for law in all_laws()
        for dtype in (TOLERANCES if law.per_dtype else [None])
    }
    missing = sorted({name for name, _ in wanted - found})
    if missing:
        return f"These laws were taken out of the run: {', '.join(missing)}. Decline features in Platform.capabilities() instead."
    return None


def _complaint_about_unasked(request: pytest.FixtureRequest, workplace: Workplace) -> str | None:
    """Which tests of the class ended without their law having been asked, as where a hook runs something in a test's place; None if none.

    Where tests are parted among processes, run in another order, or were cut short, nobody can tell.
    """
    session = request.session
    places = [
        n for n, item in enumerate(session.items) if isinstance(item, pytest.Function) and item.cls is request.cls
    ]
    is_whole = places == list(range(places[0], places[-1] + 1)) and not (session.shouldstop or session.shouldfail)
    if not is_whole or "workerinput" in vars(request.config):
        return None
    tests = (item for item in session.items[places[0] : places[-1] + 1] if isinstance(item, pytest.Function))
    unasked = sorted(
        test.name
        for test in tests
        if test.originalname in _LAWS and (_law_of(test), _dtype_of(test)) not in workplace.asked
    )
    if unasked:
        return f"These laws were never asked, though their tests ended: {', '.join(unasked)}. A hook of this run stands in the way."
    return None


def _law_of(test: pytest.Function) -> str:
    """The law's full name."""
    area, _, name = test.originalname.removeprefix("test_").partition("_")
    return f"{area}.{name}"


def _dtype_of(item: pytest.Function) -> str | None:
    callspec = getattr(item, "callspec", None)  # only tests with parameters have one
    return None if callspec is None else callspec.params.get("dtype")


class PlatformConformance(metaclass=_Sealed):
    """Subclass it with `platform`, an entry-point name or a dotted path; add tests of your own under other names."""

    platform: str
    _is_the_kit = True

    @pytest.fixture(scope="class")
    @classmethod
    def workplace(cls, request: pytest.FixtureRequest) -> Iterator[Workplace]:
        """Raises NoPlatformError where the platform is not usable: a test run without the device is no proof."""
        complaint = _complaint_about_selection(request)
        if complaint:
            pytest.fail(complaint, pytrace=False)
        with Workplace(find_platform(cls.platform)) as workplace:
            yield workplace
            complaint = _complaint_about_unasked(request, workplace)
        if complaint:
            pytest.fail(complaint, pytrace=False)


for _name, _test in _LAWS.items():
    type.__setattr__(PlatformConformance, _name, _test)
