"""What a cell's steps left behind, read: the kit's report, pytest's, the list of plugins, and the end of a log."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree as ET

from packaging.specifiers import SpecifierSet

from ci.matrix.results import Broken, Outcome, Status
from ci.packages import CORE
from ci.processes import Ending, ended

__all__ = ["last_words", "of_kit", "of_listing", "of_refusal", "of_step", "of_tests"]

_KEPT, _BROKEN, _UNTESTED = 0, 1, 3
"""Exit statuses of `vllm plugin test`."""
_WHY = 600
"""Characters of a law's detail that the report repeats; the log holds the rest."""
_FRAMES = 6
"""Lines of a traceback above its error that the report repeats."""


def last_words(log: Path, lines: int = 1) -> str:
    """The last lines of a log that hold anything."""
    if not log.is_file():
        return ""
    said = [line.rstrip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return "\n".join(said[-lines:])


def of_step(what: str, ending: Ending, said: str) -> Outcome:
    """A command that must simply succeed; `said`: its last words."""
    if ending.code == 0:
        return Outcome(status=Status.PASSED)
    law = f"{what}: {ended(ending.code)}"
    return Outcome(status=Status.FAILED, why=said, broken=(Broken(law=law, why=said),))


def of_kit(ending: Ending, report: Path, said: str) -> Outcome:
    """The kit's own report decides; where there is none, the kit did not get that far."""
    if ending.code not in (_KEPT, _BROKEN, _UNTESTED) or not report.is_file():
        return of_step("vllm plugin test", ending, said)
    content = json.loads(report.read_text(encoding="utf-8"))
    statuses = [law["status"] for law in content["outcomes"]]
    counts = {status: statuses.count(status) for status in dict.fromkeys(statuses)}
    broken = tuple(
        Broken(law=f"{law['law']} {law['dtype'] or ''}".strip(), why=_short(law["detail"]))
        for law in content["outcomes"]
        if law["status"] in ("failed", "error")
    )
    if ending.code == _UNTESTED:
        why = next((law["detail"] for law in content["outcomes"] if law["detail"]), "the kit gave no reason")
        return Outcome(status=Status.NOT_RUNNABLE, why=f"no law could be checked: {why}", counts=counts)
    if broken or ending.code == _BROKEN:
        return Outcome(status=Status.FAILED, why=broken[0].why if broken else said, broken=broken, counts=counts)
    return Outcome(status=Status.PASSED, counts=counts)


def _short(detail: str) -> str:
    """The beginning of what a law says; of a traceback the error, and then the last lines that lead to it."""
    text = detail.strip()
    if not text.startswith("Traceback"):
        return text[:_WHY]
    *lines, error = text.splitlines()
    return "\n".join([error, *lines[-_FRAMES:]])


def of_tests(ending: Ending, junit: Path, said: str) -> Outcome:
    """pytest's report; where there is none, or no test ran, that is a failure."""
    if not junit.is_file():
        return of_step("pytest", ending, said)
    cases = list(ET.parse(junit).iter("testcase"))
    broken = tuple(
        Broken(law=f"{case.get('classname')}.{case.get('name')}", why=(bad.get("message") or "")[:_WHY])
        for case in cases
        for bad in [*case.findall("failure"), *case.findall("error")]
    )
    skipped = sum(case.find("skipped") is not None for case in cases)
    every = {"passed": len(cases) - skipped - len(broken), "failed": len(broken), "skipped": skipped}
    counts = {name: count for name, count in every.items() if count}
    if ending.code == 0 and counts.get("passed"):
        return Outcome(status=Status.PASSED, counts=counts)
    why = broken[0].why if broken else said
    return Outcome(
        status=Status.FAILED, why=why, broken=broken or of_step("pytest", ending, said).broken, counts=counts
    )


def of_listing(ending: Ending, text: str, plugin: str) -> Outcome:
    """`vllm plugin list` must name the plugin with any status but a refusal: it was found, and could be asked."""
    line = next((line for line in text.splitlines() if re.match(rf"\s+{re.escape(plugin)}\s", line)), None)
    if ending.code == 0 and line and not line.rstrip().endswith(("refused", "failed")):
        return Outcome(status=Status.PASSED, counts={"found": 1})
    seen = line.strip() if line else f"{plugin} is not in the list"
    return Outcome(status=Status.FAILED, why=seen, broken=(Broken(law="vllm plugin list", why=seen),))


def of_refusal(text: str, plugin: str, wanted: SpecifierSet, core_version: str) -> Outcome:
    """`vllm plugin list` must refuse the plugin with range and version: then the pair is excused."""
    sentence = (
        rf"The plugin {re.escape(plugin)} \(\S+\) wants {CORE.distribution} (\S+), but {CORE.distribution} (\S+) is"
    )
    found = re.search(sentence, " ".join(text.split()))
    if found and SpecifierSet(found[1]) == wanted and found[2] == core_version:
        return Outcome(
            status=Status.EXCUSED, why=f"wants {CORE.distribution} {wanted}, and says so beside {core_version}"
        )
    why = f"claims {CORE.distribution} {wanted}, but discovery did not refuse it beside {core_version}"
    return Outcome(status=Status.FAILED, why=why, broken=(Broken(law="refusal by discovery", why=why),))
