"""`VLLM_PLUGINS` decides for every group what may be imported; what looks wrong is said once."""

from __future__ import annotations

import pytest

from core.tests.plugin_site import PluginSite, messages
from vllm.plugins.discovery import Plugin
from vllm.plugins.groups import ENDPOINT, GENERAL, GROUPS, LOGITS_PROCESSORS, PLATFORM, STAT_LOGGERS
from vllm.plugins.selection import left_out_because


def plugin(group: str, name: str = "alpha") -> Plugin:
    return Plugin(group=group, name=name, value="m:f", distribution="d", version="1", core_range=None, refusal=None)


@pytest.mark.parametrize("group", GROUPS)
def test_empty_means_none(group: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_PLUGINS", "")
    assert left_out_because(plugin(group)) == "VLLM_PLUGINS='' leaves it out"


@pytest.mark.parametrize("group", GROUPS)
def test_only_the_named_ones(group: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_PLUGINS", " beta , alpha ")
    assert left_out_because(plugin(group)) is None
    assert left_out_because(plugin(group, "gamma")) == "VLLM_PLUGINS='beta,alpha' leaves it out"


@pytest.mark.parametrize(
    "group, allowed",
    [(PLATFORM, True), (GENERAL, True), (LOGITS_PROCESSORS, True), (STAT_LOGGERS, True), (ENDPOINT, False)],
)
def test_unset_means_all_but_those_that_must_be_named(
    group: str, allowed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VLLM_PLUGINS", raising=False)
    assert (left_out_because(plugin(group)) is None) == allowed


ANNOUNCE = """
from vllm.logger import set_process_name
from vllm.plugins import installed_plugins
from vllm.plugins.selection import announce
for _ in range(2):
    announce("vllm.general_plugins", installed_plugins())
"""


def warnings(site: PluginSite, code: str = ANNOUNCE, **env: str) -> list[str]:
    lines = site.run(code, **env).stderr.splitlines()
    return messages("\n".join(line for line in lines if line.startswith("WARNING")))


def test_an_unknown_name_warns_once_and_lists_the_known_of_all_groups(site: PluginSite) -> None:
    site.add_plugin("alpha", "", group=PLATFORM)
    site.add_plugin("beta", "", group=GENERAL)
    assert warnings(site, VLLM_PLUGINS="alpha,betta") == [
        "VLLM_PLUGINS names 'betta', but no installed plugin has this name. Known: alpha, beta. Did you mean beta?"
    ]


def test_upstreams_packages_and_misspelt_variables_are_said(site: PluginSite) -> None:
    site.add_distribution("vllm", version="0.32.0")
    collision, misspelt = warnings(site, VLLM_PLATFROM="x")
    assert collision.startswith("vllm 0.32.0 (upstream's) is installed beside vllm-core")
    assert (
        misspelt == "The environment variable VLLM_PLATFROM is not known and has no effect. Did you mean VLLM_PLATFORM?"
    )


def test_a_child_process_does_not_repeat_it(site: PluginSite) -> None:
    child = ANNOUNCE.replace("for _", "set_process_name('EngineCore')\nfor _")
    assert "VLLM_PLUGINS names" not in site.run(child, VLLM_PLUGINS="x").stderr
