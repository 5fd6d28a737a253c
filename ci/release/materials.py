"""Owns the software bill of materials: CycloneDX, of the clean environment in which the wheel was proven alone.

A wheel of ours bundles nothing of others, so the bill lies beside it: what its dependencies came to when it was tested.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from packaging.version import Version

from ci.environments import Environment, clean_environ
from ci.packages import Package
from ci.release.refusal import Refused

__all__ = ["bill_of_materials", "component_names", "write_bill"]

_TOOLS = frozenset({"pip", "setuptools", "wheel"})
"""What every virtual environment holds, and no wheel of ours asks for."""


def write_bill(entry: Package, version: Version, environment: Environment, tools: Environment, out: Path) -> Path:
    """The bill of materials of `environment` as `out/<distribution>-<version>.cdx.json`, with the package as its subject."""
    command = [tools.script("cyclonedx-py"), "environment", "--output-reproducible", "--of", "JSON", environment.python]
    done = subprocess.run(list(map(str, command)), env=clean_environ(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise Refused(f"cyclonedx-py fails ({done.returncode}): {done.stderr.strip()}", remedy="read what it says")
    path = out / f"{entry.distribution}-{version}.cdx.json"
    path.write_text(json.dumps(bill_of_materials(json.loads(done.stdout), entry), indent=2) + "\n", encoding="utf-8")
    return path


def bill_of_materials(found: dict[str, Any], entry: Package) -> dict[str, Any]:
    """The bill with the package itself as its subject, without the tools of the environment and the machine's paths."""
    components = [each for each in _list(found, "components") if each["name"] not in _TOOLS]
    (subject,) = (each for each in components if each["name"] == entry.distribution)
    others = [_portable(each) for each in components if each is not subject]
    known = {subject["bom-ref"], *(each["bom-ref"] for each in others)}
    edges = [
        each | {"dependsOn": [ref for ref in each.get("dependsOn", []) if ref in known]}
        for each in _list(found, "dependencies")
        if each["ref"] in known
    ]
    about = found.get("metadata", {})
    assert isinstance(about, dict)
    metadata = about | {"component": _portable(subject) | {"type": "library"}}
    return found | {"metadata": metadata, "components": others, "dependencies": edges}


def _list(found: dict[str, Any], name: str) -> list[dict[str, Any]]:
    value = found.get(name, [])
    assert isinstance(value, list)
    return value


def _portable(component: dict[str, Any]) -> dict[str, Any]:
    """Without references to where this machine had the file from, and named as an index names it."""
    kept = [each for each in _list(component, "externalReferences") if not str(each["url"]).startswith("file:")]
    plain = {key: value for key, value in component.items() if key != "externalReferences"}
    if kept:
        plain["externalReferences"] = kept
    return {"purl": f"pkg:pypi/{component['name'].lower()}@{component['version']}"} | plain


def component_names(path: Path) -> set[str]:
    """Names of what the bill lists, the subject left out."""
    return {str(each["name"]) for each in _list(json.loads(path.read_text(encoding="utf-8")), "components")}
