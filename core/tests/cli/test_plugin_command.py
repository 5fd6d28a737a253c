"""`vllm plugin list` and `vllm collect-env`: what they say, and that they stay light."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from core.tests.plugin_site import CORE_VERSION, PluginSite

RUN = """
import argparse, sys
from vllm.entrypoints.cli import collect_env, plugin
parser = argparse.ArgumentParser(prog="vllm")
subparsers = parser.add_subparsers()
plugin.add_parser(subparsers)
collect_env.add_parser(subparsers)
args = parser.parse_args({arguments})
status = args.run(args)
assert not {{"torch", "numpy", "transformers"}} & set(sys.modules)
sys.exit(status)
"""


@pytest.fixture
def site(tmp_path: Path) -> PluginSite:
    site = PluginSite(tmp_path / "site")
    site.add_platform("reserve", is_fallback=True)
    site.add_plugin("broken", "raise RuntimeError('boom')")
    site.add_plugin(
        "chip", "from vllm.plugins import Unavailable\ndef register(): raise Unavailable('no card', 'plug it in')"
    )
    site.add_plugin("future", "", requires=["vllm-core>=99"])
    site.add_plugin("extra", "raise RuntimeError('imported')", group="vllm.general_plugins", requires=[])
    return site


def command(site: PluginSite, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return site.run(RUN.format(arguments=list(arguments)), **env)


def test_the_table(site: PluginSite) -> None:
    lines = command(site, "plugin", "list").stdout.splitlines()
    assert lines == [
        f"vllm-core {CORE_VERSION}",
        "",
        "vllm.platform_plugins:",
        "  NAME     DISTRIBUTION         VERSION  CORE RANGE            STATUS",
        "  broken   vllm-plugin-broken   1.0      >=0.1.dev0,<0.2.dev0  broken",
        "      The plugin broken (vllm-plugin-broken 1.0) of vllm.platform_plugins cannot be imported (plugin_broken:register): "
        "RuntimeError: boom.",
        "      Remedy: install what it needs, or pip uninstall vllm-plugin-broken, or leave it out of VLLM_PLUGINS",
        "  chip     vllm-plugin-chip     1.0      >=0.1.dev0,<0.2.dev0  not usable",
        "      no card.",
        "      Remedy: plug it in",
        "  future   vllm-plugin-future   1.0      >=99                  refused",
        f"      The plugin future (vllm-plugin-future) wants vllm-core >=99, but vllm-core {CORE_VERSION} is installed.",
        f"      Remedy: pip install 'vllm-core>=99', or a release of vllm-plugin-future that fits vllm-core {CORE_VERSION}",
        "  reserve  vllm-plugin-reserve  1.0      >=0.1.dev0,<0.2.dev0  fallback",
        "",
        "vllm.general_plugins:",
        "  NAME   DISTRIBUTION       VERSION  CORE RANGE       STATUS",
        "  extra  vllm-plugin-extra  1.0      (none declared)  installed",
        "",
        "Platform that would run here: reserve",
    ]


def test_the_list_is_silent_on_standard_error(site: PluginSite) -> None:
    assert command(site, "plugin", "list").stderr == ""


def test_json_says_the_same(site: PluginSite) -> None:
    report = json.loads(command(site, "plugin", "list", "--json").stdout)
    statuses = {row["name"]: row["status"] for row in report["rows"]}
    assert statuses == {
        "broken": "broken",
        "chip": "not usable",
        "future": "refused",
        "reserve": "fallback",
        "extra": "installed",
    }
    assert (report["core_version"], report["chosen"], report["problem"]) == (CORE_VERSION, "reserve", None)


def test_the_filter_and_the_problem_are_shown(site: PluginSite) -> None:
    report = json.loads(command(site, "plugin", "list", "--json", VLLM_PLUGINS="chip").stdout)
    statuses = {row["name"]: row["status"] for row in report["rows"]}
    assert statuses == {
        "broken": "left out",
        "chip": "not usable",
        "future": "refused",
        "reserve": "left out",
        "extra": "left out",
    }
    assert report["chosen"] is None
    assert report["problem"].startswith("No platform is usable here:\n")


def test_upstream_beside_ours_is_a_warning(site: PluginSite) -> None:
    site.add_distribution("vllm", version="0.32.0")
    assert command(site, "plugin", "list").stderr.startswith(
        "\nWARNING: vllm 0.32.0 (upstream's) is installed beside vllm-core"
    )


def test_collect_env_says_what_a_bug_report_needs_and_no_secret(site: PluginSite) -> None:
    result = command(site, "collect-env", "--json", VLLM_CPU_KVCACHE_SPACE="4", HF_TOKEN="hf_secret", HOME="/home/me")
    sections = json.loads(result.stdout)
    assert list(sections) == ["System", "Processor and memory", "Packages", "Plugins", "Environment variables"]
    assert sections["Packages"]["vllm-core"] == CORE_VERSION
    assert sections["Packages"]["ray"] == "not installed"
    assert sections["Plugins"]["chip (vllm.platform_plugins)"] == "vllm-plugin-chip 1.0: not usable: no card."
    assert sections["Plugins"]["platform that would run"] == "reserve"
    variables = sections["Environment variables"]
    assert variables["VLLM_CPU_KVCACHE_SPACE"] == "4"
    assert variables["HF_TOKEN"] == "(set, not shown)"
    assert "HOME" not in variables
    assert "hf_secret" not in result.stdout


def test_collect_env_as_text(site: PluginSite) -> None:
    text = command(site, "collect-env").stdout
    assert "System:\n  system " in text
    assert f"  vllm-core     {CORE_VERSION}\n" in text
