"""What is known of plugins before anything of them is imported."""

from __future__ import annotations

import pytest

from core.tests.plugin_site import PluginSite, messages

LIST = "[[p.group, p.name, p.value, p.distribution, p.version, p.core_range, p.refusal and p.refusal.what] for p in installed_plugins()]"
SETUP = "from vllm.plugins import installed_plugins"


def test_metadata_is_read_without_import(site: PluginSite) -> None:
    site.add_plugin("chip", "raise RuntimeError('imported')")
    assert site.ask(LIST, setup=SETUP) == [
        [
            "vllm.platform_plugins",
            "chip",
            "plugin_chip:register",
            "vllm-plugin-chip",
            "1.0",
            ">=0.1.dev0,<0.2.dev0",
            None,
        ]
    ]


def test_every_group_is_found_in_a_fixed_order(site: PluginSite) -> None:
    groups = ["endpoint_plugins", "stat_logger_plugins", "logits_processors", "general_plugins", "platform_plugins"]
    for number, group in enumerate(groups):
        site.add_plugin(f"p{number}", "", group=f"vllm.{group}")
    site.add_plugin("stranger", "", group="console_scripts")
    assert [row[0] for row in site.ask(LIST, setup=SETUP)] == [
        "vllm.platform_plugins",
        "vllm.general_plugins",
        "vllm.logits_processors",
        "vllm.stat_logger_plugins",
        "vllm.endpoint_plugins",
    ]


def test_one_distribution_may_hold_several_plugins(site: PluginSite) -> None:
    site.add_distribution(
        "many",
        requires=["vllm-core"],
        entry_points="[vllm.platform_plugins]\nb = m:b\na = m:a\n[vllm.general_plugins]\na = m:g\n",
    )
    rows = site.ask(LIST, setup=SETUP)
    assert [(row[0], row[1], row[5]) for row in rows] == [
        ("vllm.platform_plugins", "a", ""),
        ("vllm.platform_plugins", "b", ""),
        ("vllm.general_plugins", "a", ""),
    ]


def test_the_first_distribution_of_a_name_on_the_path_counts(site: PluginSite) -> None:
    later = site.folder / "later"
    site.add_distribution(
        "vllm-plugin-chip", version="2.0", entry_points="[vllm.platform_plugins]\nchip = new:register\n"
    )
    site.add_distribution(
        "Vllm.Plugin_Chip", version="1.0", folder=later, entry_points="[vllm.platform_plugins]\nchip = old:register\n"
    )
    rows = site.ask(LIST, setup=f"import sys; sys.path.append({str(later)!r})\n{SETUP}")
    assert [(row[2], row[4]) for row in rows] == [("new:register", "2.0")]


def test_distributions_without_a_name_do_not_hide_each_other(site: PluginSite) -> None:
    for name in ("one", "two"):
        info = site.add_distribution(name, entry_points=f"[vllm.platform_plugins]\n{name} = m:register\n")
        (info / "METADATA").write_text("Metadata-Version: 2.1\nVersion: 1.0\n")
    rows = site.ask(LIST, setup=SETUP)
    assert [(row[1], row[3]) for row in rows] == [(name, "a distribution without a name") for name in ("one", "two")]


def test_unreadable_entry_points_are_reported_and_hide_nothing(site: PluginSite) -> None:
    site.add_distribution("broken", entry_points="[vllm.platform_plugins]\nthis is no entry point\n")
    site.add_plugin("chip", "")
    result = site.run(f"{SETUP}\nprint([plugin.name for plugin in installed_plugins()])")
    assert result.stdout == "['chip']\n"
    (said,) = messages(result.stderr)
    assert said.startswith("The plugins of broken are left out, because its metadata cannot be read: ")


@pytest.mark.parametrize("file", ["entry_points.txt", "METADATA"])
def test_metadata_in_another_encoding_hides_nothing(site: PluginSite, file: str) -> None:
    info = site.add_distribution("broken", entry_points="[vllm.platform_plugins]\nx = m:y\n")
    (info / file).write_bytes((info / file).read_bytes() + b"Name: \xff\n")
    site.add_plugin("chip", "")
    result = site.run(f"{SETUP}\nprint([plugin.name for plugin in installed_plugins()])")
    assert result.stdout == "['chip']\n"
    said, *_ = messages(result.stderr)  # once for each way in which the folder stands on the path
    assert "are left out, because its metadata cannot be read: UnicodeDecodeError" in said


def test_an_unreadable_core_range_refuses_the_plugin(site: PluginSite) -> None:
    site.add_plugin("chip", "", requires=["vllm-core >= banana"])
    (row,) = site.ask(LIST, setup=SETUP)
    assert row[6].startswith("The plugin chip (vllm-plugin-chip) states its core range unreadably: ")


def test_a_core_that_was_never_installed_refuses_nobody(site: PluginSite) -> None:
    site.add_plugin("chip", "", requires=["vllm-core>=99"])
    for name in ("METADATA", "entry_points.txt"):
        (site.folder / "vllm_core-0.1.0.dev0+gabc1234.dist-info" / name).unlink()
    (site.folder / "vllm_core-0.1.0.dev0+gabc1234.dist-info").rmdir()
    code = f"import sys; sys.path = [path for path in sys.path if not path.endswith('src')] + [{str(site.folder)!r}]"
    rows = site.ask(LIST, setup=f"import vllm.plugins.discovery\n{SETUP}\n{code}")
    assert rows[0][5:] == [">=99", None]


def test_a_platform_that_names_no_core_is_refused_before_import(site: PluginSite) -> None:
    site.add_plugin("chip", "raise RuntimeError", distribution="vllm-chip", requires=["vllm>=0.9", "torch"])
    (row,) = site.ask(LIST, setup=SETUP)
    assert row[6] == (
        "The plugin chip (vllm-chip) does not say which versions of vllm-core it fits, so it may be written for upstream's vLLM, "
        "whose platform contract is another one."
    )


def test_upstreams_packages_beside_ours_are_found(site: PluginSite) -> None:
    site.add_distribution("vllm", version="0.32.0")
    site.add_distribution("vllm_chip", version="1.2")
    site.add_plugin("chip", "")
    site.add_distribution("vllm_other", version="0.22")  # ours for that chip is not installed: nothing to collide with
    found = site.ask(
        "[str(p) for p in find_upstream_packages(installed_plugins())]",
        setup="from vllm.plugins import find_upstream_packages, installed_plugins",
    )
    assert found == [
        "vllm 0.32.0 (upstream's) is installed beside vllm-core: both own the import package 'vllm', so whichever was installed last "
        "has overwritten files of the other. Remedy: pip uninstall vllm, then pip install --force-reinstall --no-deps vllm-core",
        "vllm-chip 1.2 (upstream's) is installed beside vllm-plugin-chip: both own the import package 'vllm_chip', so whichever was "
        "installed last has overwritten files of the other. Remedy: pip uninstall vllm-chip, then pip install --force-reinstall "
        "--no-deps vllm-plugin-chip",
    ]


def test_nothing_heavy_is_imported(site: PluginSite) -> None:
    site.add_plugin("chip", "")
    heavy = "sorted({'torch', 'numpy', 'transformers'} & set(sys.modules))"
    assert site.ask(heavy, setup=f"import sys\n{SETUP}\ninstalled_plugins()") == []
