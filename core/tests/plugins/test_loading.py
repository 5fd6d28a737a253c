"""Importing plugins: general ones once per process, the others on demand, and whose fault a failure is."""

from __future__ import annotations

from core.tests.plugin_site import PluginSite, messages

GENERAL = "vllm.general_plugins"
LOGITS = "vllm.logits_processors"
LOAD = "from vllm.plugins import load_general_plugins\nload_general_plugins()\n"
NOTE = "def register(): open('calls', 'a').write('{name} ')\n"


def calls(site: PluginSite) -> list[str]:
    path = site.folder / "calls"
    return path.read_text().split() if path.exists() else []


def test_general_plugins_run_once_per_process_and_say_so(site: PluginSite) -> None:
    site.add_plugin("alpha", NOTE.format(name="alpha"), group=GENERAL)
    result = site.run(LOAD + LOAD)
    assert calls(site) == ["alpha"]
    assert messages(result.stderr) == [
        "Available plugins for group vllm.general_plugins:",
        "name=alpha, value=plugin_alpha:register",
        "plugin alpha loaded.",
    ]


def test_a_general_plugin_may_ask_for_the_general_plugins(site: PluginSite) -> None:
    site.add_plugin("alpha", NOTE.format(name="alpha") + LOAD, group=GENERAL)
    site.run(LOAD)
    assert calls(site) == ["alpha"]


def test_a_second_thread_waits_for_the_first(site: PluginSite) -> None:
    site.add_plugin("alpha", NOTE.format(name="alpha"), group=GENERAL)
    code = """
    import threading
    from vllm.plugins import load_general_plugins
    seen, start = [], threading.Barrier(8)
    def load():
        start.wait()
        load_general_plugins()
        seen.append(open("calls").read())
    threads = [threading.Thread(target=load) for _ in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    print(seen == ["alpha "] * 8)
    """
    assert site.run(code).stdout == "True\n"


def test_a_broken_general_plugin_is_reported_and_the_others_run(site: PluginSite) -> None:
    site.add_plugin("a_import", "raise RuntimeError('boom')", group=GENERAL)
    site.add_plugin("b_call", "def register(): raise KeyError('boom')", group=GENERAL)
    site.add_plugin("c_core", "", group=GENERAL, requires=["vllm-core>=99"])
    site.add_plugin("d_fine", NOTE.format(name="fine"), group=GENERAL)
    result = site.run(LOAD)
    assert calls(site) == ["fine"]
    errors = [line for line in result.stderr.splitlines() if line.startswith("ERROR")]
    said = messages("\n".join(errors))
    assert "RuntimeError: boom" in said, "the plugin's traceback"
    assert "KeyError: 'boom'" in said
    assert (
        "The general plugin a_import is skipped: The plugin a_import (vllm-plugin-a-import 1.0) of vllm.general_plugins cannot be "
        "imported (plugin_a_import:register): RuntimeError: boom"
    ) in said
    assert (
        "The general plugin b_call (vllm-plugin-b-call 1.0) raised and is skipped; what it meant to register is missing."
        in said
    )
    assert any(
        line.startswith("The general plugin c_core is skipped: The plugin c_core (vllm-plugin-c-core) wants")
        for line in said
    )


def test_vllm_plugins_filters_general_plugins(site: PluginSite) -> None:
    for name in ("alpha", "beta"):
        site.add_plugin(name, NOTE.format(name=name), group=GENERAL)
    site.run(LOAD, VLLM_PLUGINS="beta")
    site.run(LOAD, VLLM_PLUGINS="")
    assert calls(site) == ["beta"]


def test_load_plugins_gives_the_objects_by_name(site: PluginSite) -> None:
    site.add_plugin("upper", "class Upper: word = 'UP'", group=LOGITS, attribute="Upper")
    site.add_plugin("lower", "class Lower: word = 'low'", group=LOGITS, attribute="Lower")
    loaded = "{name: cls.word for name, cls in load_plugins('vllm.logits_processors').items()}"
    assert site.ask(loaded, setup="from vllm.plugins import load_plugins") == {"lower": "low", "upper": "UP"}


def failure(site: PluginSite) -> str:
    result = site.run("from vllm.plugins import load_plugins\nload_plugins('vllm.logits_processors')", check=False)
    assert result.returncode == 1
    return result.stderr.rpartition("vllm.errors.")[2].rstrip()


def test_load_plugins_names_the_one_that_fails(site: PluginSite) -> None:
    site.add_plugin("upper", "", group=LOGITS, attribute="Upper")
    assert failure(site) == (
        "PluginError: The plugin upper (vllm-plugin-upper 1.0) of vllm.logits_processors cannot be imported (plugin_upper:Upper): "
        "AttributeError: module 'plugin_upper' has no attribute 'Upper'\n"
        "  Remedy: install what it needs, or pip uninstall vllm-plugin-upper, or leave it out of VLLM_PLUGINS"
    )


def test_one_name_from_two_distributions_is_an_error(site: PluginSite) -> None:
    for number in (1, 2):
        site.add_plugin("upper", "class Upper: pass", group=LOGITS, attribute="Upper", distribution=f"words{number}")
    assert failure(site) == (
        "PluginError: Several distributions give vllm.logits_processors a plugin 'upper': words1, words2.\n  Remedy: uninstall all but one"
    )
