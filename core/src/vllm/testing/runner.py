"""Owns a run of the kit without pytest: which laws on which dtypes, each to an outcome, all to a report."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timezone
from importlib import metadata

from vllm.errors import ConfigError, near_names
from vllm.platforms.capabilities import Support
from vllm.platforms.interface import Platform
from vllm.testing.bench import Bench
from vllm.testing.catalogue import select_laws
from vllm.testing.excuses import excuse
from vllm.testing.law import Law, LawBroken
from vllm.testing.report import Declined, Outcome, Report, Status
from vllm.testing.tolerances import TOLERANCES
from vllm.testing.workplace import Workplace

__all__ = ["check_law", "dtypes_to_test", "run_laws"]

OnOutcome = Callable[[Outcome], None]
OnStart = Callable[[Law, str | None], None]


def _ignore(*_: object) -> None:
    """Nobody watches."""


def run_laws(
    platform_path: str,
    *,
    dtypes: Sequence[str] | None = None,
    laws: Iterable[str] = (),
    quick: bool = False,
    on_start: OnStart = _ignore,
    on_outcome: OnOutcome = _ignore,
) -> Report:
    """Check the Platform class at `platform_path`, in this process, without discovery.

    Args:
        dtypes: names; None = all that the platform supports (with `quick` the first of float32, or its best).
        laws: areas, names or patterns; empty = all.
        quick: leave out slow laws, slow cases of the others, and all dtypes but one.
        on_start, on_outcome: called before and after each law.

    Raises:
        ConfigError: no such law or dtype, or no Platform at that path.
    """
    chosen, start_s = select_laws(laws, quick=quick), time.perf_counter()
    started = datetime.now(timezone.utc).isoformat(timespec="seconds")
    outcomes = []
    with Workplace(platform_path, quick=quick) as workplace:
        tested = dtypes_to_test(workplace.platform, dtypes, quick=quick)
        for law, dtype in _agenda(chosen, tested):
            on_start(law, dtype)
            outcomes.append(check_law(law, workplace, dtype))
            on_outcome(outcomes[-1])
        return Report(
            platform=workplace.platform.name,
            platform_path=platform_path,
            device=_device_name(workplace.platform),
            versions=_versions(workplace.platform),
            started=started,
            dtypes=tested,
            quick=quick,
            outcomes=tuple(outcomes),
            declined=tuple(_declined(workplace.platform)),
            seconds=time.perf_counter() - start_s,
        )


def check_law(law: Law, workplace: Workplace, dtype: str | None) -> Outcome:
    """One law to its outcome. Whatever the platform raises becomes an outcome; only an interruption passes through."""
    start_s = time.perf_counter()
    bench = Bench(workplace, dtype or _any_dtype(workplace.platform), quick=workplace.quick)
    status, detail = _verdict(law, bench)
    return Outcome(
        law=law.full_name,
        area=law.area,
        sentence=law.sentence,
        dtype=dtype,
        status=status,
        detail=detail,
        measurements=tuple(bench.measurements),
        seconds=time.perf_counter() - start_s,
    )


def _verdict(law: Law, bench: Bench) -> tuple[Status, str]:
    try:
        if (found := excuse(law, bench.platform)) is not None:
            return found.status, found.why
        law.check(bench)
    except LawBroken as broken:
        return Status.FAILED, str(broken)
    except Exception:  # noqa: BLE001 - whatever a platform raises is an outcome of its law
        return Status.ERROR, traceback.format_exc()
    return Status.PASSED, "; ".join(dict.fromkeys(bench.left_out))


def dtypes_to_test(platform: Platform, asked: Sequence[str] | None, *, quick: bool) -> tuple[str, ...]:
    """Names of the dtypes: the asked ones, else the platform's; for `quick` float32 where it can, whose laws are the sharpest."""
    supported = tuple(name for name in TOLERANCES if name in _declared_dtypes(platform))
    if asked is None:
        return supported[:1] if quick else supported
    for name in asked:
        if name not in supported:
            raise ConfigError(
                f"The platform {platform.name} does not support the dtype {name!r}.",
                remedy=f"name some of {', '.join(supported)}",
                candidates=near_names(name, supported),
            )
    return tuple(asked)


def _any_dtype(platform: Platform) -> str:
    return (*dtypes_to_test(platform, None, quick=True), next(iter(TOLERANCES)))[0]


def _declared_dtypes(platform: Platform) -> tuple[str, ...]:
    try:
        return tuple(platform.supported_dtypes())
    except Exception:  # noqa: BLE001 - the contract's laws report it
        return ()


def _agenda(laws: Sequence[Law], dtypes: Sequence[str]) -> Iterator[tuple[Law, str | None]]:
    """Area by area; within an area dtype by dtype."""
    for area in dict.fromkeys(law.area for law in laws):
        here = [law for law in laws if law.area == area]
        yield from ((law, None) for law in here if not law.per_dtype)
        yield from ((law, dtype) for dtype in dtypes for law in here if law.per_dtype)


def _declined(platform: Platform) -> Iterator[Declined]:
    try:
        capabilities = dict(platform.capabilities())
    except Exception:  # noqa: BLE001 - the contract's laws report it
        return
    for feature, capability in capabilities.items():
        if capability.support is not Support.FULL:
            yield Declined(feature=feature.value, support=capability.support.value, why=capability.why)


def _device_name(platform: Platform) -> str:
    try:
        return str(platform.get_device_name())
    except Exception as error:  # noqa: BLE001 - the contract's laws report it
        return f"get_device_name() raised {type(error).__name__}"


def _versions(platform: Platform) -> dict[str, str]:
    """Of the core, torch, and the distribution that the platform's package belongs to."""
    package = type(platform).__module__.partition(".")[0]
    names = ["vllm-core", "torch", *metadata.packages_distributions().get(package, ())]
    found = {}
    for name in dict.fromkeys(names):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
