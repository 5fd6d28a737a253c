"""`vllm plugin doctor`: what it examines, what it calls wrong, and that healthy machines pass. Real metadata, real processes."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from core.tests.plugin_site import PluginSite

RUN = """
import sys
from vllm.entrypoints.cli.main import main
status = main(["plugin", "doctor", *{arguments}])
assert not {{"torch", "numpy", "transformers"}} & set(sys.modules)
sys.exit(status)
"""
PROBING = """
from vllm.plugins import Probes, Unavailable

def register():
    probes = Probes()
    probes.package("torch_chip")
    probes.package("packaging")
    probes.variable("CHIP_HOME")
    probes.path({folder!r} + "/chip[0-9]")
    probes.path({folder!r} + "/absent*")
    raise Unavailable("no card", "plug it in", probes=probes.findings)
"""


@pytest.fixture
def site(tmp_path: Path) -> PluginSite:
    site = PluginSite(tmp_path / "site")
    site.add_platform("reserve", is_fallback=True)
    return site


def doctor(site: PluginSite, *arguments: str, status: int, **env: str) -> subprocess.CompletedProcess[str]:
    result = site.run(RUN.format(arguments=list(arguments)), check=False, **env)
    assert result.returncode == status, result.stdout + result.stderr
    return result


def examined(site: PluginSite, *, status: int, **env: str) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(doctor(site, "--json", status=status, **env).stdout)
    assert report["healthy"] is (status == 0)
    return report


def test_a_healthy_environment(site: PluginSite) -> None:
    text = doctor(site, status=0).stdout
    assert "  vllm-core     0.1.0.dev0+gabc1234\n" in text
    assert "  torch         not installed\n" in text
    line = "  [ok] reserve: vllm-plugin-reserve 1.0, for vllm-core >=0.1.dev0,<0.2.dev0: fallback\n"
    assert text.endswith(f"{line}\nPlatform that would run here: reserve\nNothing is wrong.\n")


def test_absent_hardware_is_not_wrong_and_says_what_was_looked_for(site: PluginSite, tmp_path: Path) -> None:
    (tmp_path / "chip0").touch()
    (tmp_path / "chip1").touch()
    site.add_plugin("chip", PROBING.format(folder=str(tmp_path)))
    report = examined(site, status=0, CHIP_HOME="/opt/chip")
    (chip,) = (plugin for plugin in report["plugins"] if plugin["row"]["name"] == "chip")
    assert (chip["row"]["status"], chip["row"]["reason"]) == ("not usable", "no card.")
    findings = chip["findings"]
    assert findings.pop("Python package torch_chip").startswith("not in ")
    assert findings.pop("Python package packaging").endswith("packaging/__init__.py")
    assert findings == {
        "environment variable CHIP_HOME": "/opt/chip",
        f"{tmp_path}/chip[0-9]": f"{tmp_path}/chip0, {tmp_path}/chip1",
        f"{tmp_path}/absent*": "no such path",
    }
    text = doctor(site, status=0).stdout
    assert "  [--] chip: " in text
    assert "       environment variable CHIP_HOME" in text


def test_a_usable_platform_tells_its_own_findings(site: PluginSite) -> None:
    add_doctor(site, "return {'driver': 24.1, 'cards': 2}")
    (plugin,) = (p for p in examined(site, status=0)["plugins"] if p["row"]["name"] == "chip")
    assert plugin["findings"] == {"driver": "24.1", "cards": "2"}


def test_the_variable_that_limits_the_devices_is_shown(site: PluginSite) -> None:
    add_doctor(site, "return {}\n    device_control_env_var = 'CHIP_VISIBLE'")
    for env, shown in ({}, "not set: all devices"), ({"CHIP_VISIBLE": "0,1"}, "0,1"):
        (plugin,) = (p for p in examined(site, status=0, **env)["plugins"] if p["row"]["name"] == "chip")
        assert plugin["findings"] == {"environment variable CHIP_VISIBLE": shown}


def test_a_platform_whose_doctor_raises_is_wrong(site: PluginSite) -> None:
    add_doctor(site, "raise OSError('driver gone')")
    assert examined(site, status=1)["troubles"] == ["chip: its doctor() raised OSError: driver gone"]


def test_a_platform_whose_doctor_hangs_is_wrong_and_holds_nobody_up(site: PluginSite) -> None:
    add_doctor(site, "__import__('threading').Event().wait()")
    (said,) = examined(site, status=1, VLLM_PLUGIN_PROBE_TIMEOUT_S="0.2")["troubles"]
    assert said.startswith("chip: its doctor() raised TimeoutError: it has not answered within 0.2 s")


def add_doctor(site: PluginSite, body: str) -> None:
    site.add_platform("chip")
    module = site.folder / "platform_chip.py"
    module.write_text(module.read_text() + f"    def doctor(self): {body}\n")


def test_everything_that_is_wrong_is_said_at_once(site: PluginSite) -> None:
    site.add_plugin("broken", "1 / 0")
    site.add_plugin("future", "", requires=["vllm-core>=99"])
    site.add_plugin("needy", "def register(): return None", requires=["vllm-core>=0.1.dev0", "chiplib>=2", "nowhere"])
    site.add_distribution("chiplib", version="1.5")
    site.add_distribution("vllm", version="0.32.0")
    report = examined(
        site, status=1, VLLM_LOGGING_LEVEL="LOUD", VLLM_USE_V1="1", VLLM_PLUGINS="broken,future,needy,reserv"
    )
    starts = [
        "The environment variable VLLM_LOGGING_LEVEL is 'LOUD', but it must be one of DEBUG,",
        "The environment variable VLLM_USE_V1 is no longer read: there is only one engine",
        "VLLM_PLUGINS names 'reserv', but no installed plugin has this name. Known: broken, future, needy, reserve. Did you mean reserve?",
        "vllm 0.32.0 (upstream's) is installed beside vllm-core",
        "vllm-plugin-needy needs chiplib>=2, but 1.5 is installed.",
        "vllm-plugin-needy needs nowhere, which is not installed.",
        "broken: The plugin broken (vllm-plugin-broken 1.0) of vllm.platform_plugins cannot be imported",
        "future: The plugin future (vllm-plugin-future) wants vllm-core >=99",
        "No platform is usable here:\n",
    ]
    assert len(report["troubles"]) == len(starts), report["troubles"]
    for trouble, start in zip(report["troubles"], starts, strict=True):
        assert trouble.startswith(start)
    (broken,) = (plugin for plugin in report["plugins"] if plugin["row"]["name"] == "broken")
    assert "ZeroDivisionError: division by zero" in broken["trace"]


def test_the_text_numbers_the_troubles_and_shows_the_traceback(site: PluginSite) -> None:
    site.add_plugin("broken", "1 / 0")
    text = doctor(site, status=1).stdout
    assert "  [!!] broken: " in text
    assert "       | ZeroDivisionError: division by zero\n" in text
    assert "\nOne thing is wrong:\n  1. broken: The plugin broken" in text


def test_an_unreadable_probe_time_limit_is_reported_instead_of_ending_the_command(site: PluginSite) -> None:
    report = examined(site, status=1, VLLM_PLUGIN_PROBE_TIMEOUT_S="soon")
    assert report["report"] is None
    (trouble,) = report["troubles"]
    assert trouble.startswith(
        "The environment variable VLLM_PLUGIN_PROBE_TIMEOUT_S is 'soon', but it must be a positive"
    )


def test_probes_survive_the_way_between_processes() -> None:
    import pickle

    from vllm.errors import Unavailable

    error = pickle.loads(pickle.dumps(Unavailable("no card", "plug it in", probes={"card": "none"})))
    assert (error.reason, error.remedy, error.probes) == ("no card", "plug it in", {"card": "none"})
