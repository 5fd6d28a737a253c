"""Which platform a process runs on: the log lines, the rule, and that no hostile plugin gets in another's way."""

from __future__ import annotations

import json
import re

import pytest

from core.tests.plugin_site import PluginSite, messages

RESOLVE = """
from vllm.platforms import resolve_platform
print(resolve_platform().name)
"""


def failure(site: PluginSite, **env: str) -> str:
    """The text of the error with which resolution ends."""
    result = site.run(RESOLVE, check=False, **env)
    assert result.returncode == 1
    return result.stderr.rpartition("vllm.errors.")[2].rstrip()


def reason(site: PluginSite, name: str) -> str:
    """What the log says of the plugin `name` in a process where the healthy plugin is activated all the same."""
    result = site.run(RESOLVE)
    assert result.stdout == "healthy\n"
    head = f"Platform plugin {name} (vllm-plugin-{name} 1.0) is not usable here: "
    said = [message for message in messages(result.stderr) if message.startswith(head)]
    assert len(said) == 1, result.stderr
    return said[0].removeprefix(head)


def test_the_promised_log_lines(site: PluginSite) -> None:
    site.add_platform("alpha")
    result = site.run(RESOLVE)
    assert messages(result.stderr) == [
        "Available plugins for group vllm.platform_plugins:",
        "name=alpha, value=plugin_alpha:register",
        "plugin alpha loaded.",
        "Platform plugin alpha is activated",
    ]
    assert all(re.match(r"INFO \d\d-\d\d \d\d:\d\d:\d\d \w+\.py:\d+\] ", line) for line in result.stderr.splitlines())


# ---- hostile plugins: the exact message, and that the rest works


FAULT = "Remedy: this is a fault of vllm-plugin-bad 1.0; tell its author"
SHOULD = "; where its hardware is absent it should raise vllm.plugins.Unavailable"
UNINSTALL = "Remedy: install what it needs, or pip uninstall vllm-plugin-bad, or leave it out of VLLM_PLUGINS."
CANNOT_IMPORT = (
    "The plugin bad (vllm-plugin-bad 1.0) of vllm.platform_plugins cannot be imported (plugin_bad:register): "
)

HOSTILE = {
    "raises at import": (
        "raise RuntimeError('boom at import')",
        f"{CANNOT_IMPORT}RuntimeError: boom at import. {UNINSTALL}",
    ),
    "leaves at import": ("raise SystemExit(3)", f"{CANNOT_IMPORT}SystemExit: 3. {UNINSTALL}"),
    "needs a missing library": (
        "import ctypes; ctypes.CDLL('libnochip.so')",
        f"{CANNOT_IMPORT}OSError: libnochip.so: cannot open shared object file: No such file or directory. {UNINSTALL}",
    ),
    "needs a missing module": (
        "import nochip",
        f"{CANNOT_IMPORT}ModuleNotFoundError: No module named 'nochip'. {UNINSTALL}",
    ),
    "raises in register": (
        "def register(): raise KeyError('device')",
        f"Its register() raised KeyError: 'device'. {FAULT}{SHOULD}.",
    ),
    "leaves in register": (
        "def register(): raise SystemExit(3)",
        f"Its register() raised SystemExit: 3. {FAULT}{SHOULD}.",
    ),
    "returns None": (
        "def register(): return None",
        "it gave no reason (register() returned None). Remedy: ask the author of vllm-plugin-bad to raise "
        "vllm.plugins.Unavailable(reason, remedy) instead.",
    ),
    "returns a number": (
        "def register(): return 42",
        f"Its register() returned 42 instead of the dotted path of a Platform class. {FAULT}.",
    ),
    "returns nonsense": (
        "def register(): return 'no path!'",
        f"Its register() returned 'no path!', which cannot be loaded: PluginError: 'no path!' is not a dotted path. {FAULT}.",
    ),
    "names a missing module": (
        "def register(): return 'nochip.Platform'",
        "Its register() returned 'nochip.Platform', which cannot be loaded: ModuleNotFoundError: No module named 'nochip'. "
        f"{FAULT}.",
    ),
    "names a missing class": (
        "class MyPlatform: pass\ndef register(): return 'plugin_bad.MyPlatfrom'",
        "Its register() returned 'plugin_bad.MyPlatfrom', which cannot be loaded: PluginError: The module plugin_bad has no "
        f"'MyPlatfrom'. Did you mean 'MyPlatform'? {FAULT}.",
    ),
    "names something else": (
        "def register(): return 'json.dumps'",
        "Its register() returned 'json.dumps', which is <function dumps at 0x> and no subclass of vllm.platforms.Platform. "
        f"{FAULT}.",
    ),
    "leaves methods out": (
        "from vllm.platforms import Platform\n"
        "class P(Platform):\n    name = 'bad'\n    def capabilities(self): return {}\n"
        "def register(): return 'plugin_bad.P'",
        "Its register() returned 'plugin_bad.P', whose class lacks the mandatory methods get_attn_backend_cls, "
        f"get_device_name, memory_info, supported_dtypes. {FAULT}.",
    ),
    "goes by another name": (
        "from platform_healthy import FakePlatform\ndef register(): return 'plugin_bad.FakePlatform'",
        "Its register() returned 'plugin_bad.FakePlatform', whose class attribute `name` is 'healthy' where the entry point is "
        f"called 'bad'. {FAULT}.",
    ),
    "is no function": (
        "register = 'plugin_bad.P'",
        f"Its entry point plugin_bad:register is 'plugin_bad.P' and not a function. {FAULT}.",
    ),
    "takes current_platform inside register": (
        "def register():\n    from vllm.platforms import current_platform\n    return current_platform.name",
        "Its register() raised PluginError: The plugin bad asks for vllm.platforms.current_platform while it is itself being "
        f"asked whether it is usable. {FAULT}{SHOULD}.",
    ),
    "takes current_platform at import": (
        "from vllm.platforms import current_platform",
        f"{CANNOT_IMPORT}PluginError: The plugin bad asks for vllm.platforms.current_platform while it is itself being asked "
        f"whether it is usable. {UNINSTALL}",
    ),
    "is unavailable": (
        "from vllm.plugins import Unavailable\n"
        "def register(): raise Unavailable('libchip.so was not found in LD_LIBRARY_PATH', 'install the driver')",
        "libchip.so was not found in LD_LIBRARY_PATH. Remedy: install the driver.",
    ),
    "is unavailable at import": (
        "from vllm.plugins import Unavailable\nraise Unavailable('no card on the bus')",
        "no card on the bus.",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_plugin_is_reported_and_the_rest_works(site: PluginSite, case: str) -> None:
    source, expected = HOSTILE[case]
    site.add_platform("healthy")
    site.add_plugin("bad", source)
    assert re.sub(r"0x[0-9a-f]+", "0x", reason(site, "bad")) == expected


def test_a_plugin_that_raises_is_reported_with_its_traceback(site: PluginSite) -> None:
    site.add_platform("healthy")
    site.add_plugin(
        "bad", "def probe():\n    raise OSError('driver speaks version 3')\n\ndef register():\n    probe()\n"
    )
    log = messages(site.run(RESOLVE).stderr)
    assert any(line.endswith('plugin_bad.py", line 2, in probe') for line in log)
    assert "OSError: driver speaks version 3" in log


def test_a_plugin_that_wants_another_core_is_refused_before_import(site: PluginSite) -> None:
    site.add_platform("healthy")
    site.add_plugin("bad", "open('imported', 'w')", requires=["vllm-core>=99"])
    assert reason(site, "bad") == (
        "The plugin bad (vllm-plugin-bad) wants vllm-core >=99, but vllm-core 0.1.0.dev0+gabc1234 is installed. Remedy: "
        "pip install 'vllm-core>=99', or a release of vllm-plugin-bad that fits vllm-core 0.1.0.dev0+gabc1234."
    )
    assert not (site.folder / "imported").exists()


def test_a_plugin_that_hangs_costs_its_time_limit_only(site: PluginSite) -> None:
    site.add_platform("healthy")
    site.add_plugin("bad", "import threading\ndef register():\n    threading.Event().wait()")
    site.env["VLLM_PLUGIN_PROBE_TIMEOUT_S"] = "0.2"
    said = reason(site, "bad")
    assert said.startswith("Its register() has not returned after 0.2 s, and is at ")
    assert said.endswith("tell its author, or give it longer with VLLM_PLUGIN_PROBE_TIMEOUT_S.")


def test_a_plugin_that_is_long_in_being_imported_is_named_while_it_is(site: PluginSite) -> None:
    """The import waits until the warning about it is out, so it is the warning that lets the process go on."""
    site.add_platform("healthy")
    site.env["VLLM_PLUGIN_PROBE_TIMEOUT_S"] = "0.2"
    wait = "import threading, logging\nsaid = threading.Event()\nclass H(logging.Handler):\n    def emit(self, record): said.set()\n"
    wait += "logging.getLogger('vllm').addHandler(H(logging.WARNING))\nassert said.wait(30)\n"
    site.add_plugin("slow", wait + "def register(): return None")
    (warning,) = (line for line in messages(site.run(RESOLVE).stderr) if "keeps everything waiting" in line)
    assert "The plugin slow" in warning and "importing it takes more than 0.2 s, and is at " in warning
    assert warning.endswith("VLLM_PLUGINS without slow leaves it out.")


def test_all_hostile_plugins_together_leave_the_healthy_one(site: PluginSite) -> None:
    site.add_platform("healthy")
    for number, (source, _) in enumerate(HOSTILE.values()):
        site.add_plugin(f"bad{number}", source)
    result = site.run(RESOLVE)
    assert result.stdout == "healthy\n"
    assert sum("is not usable here" in line for line in messages(result.stderr)) == len(HOSTILE)


def test_a_plugin_that_imports_torch_while_asked_is_told_so(site: PluginSite) -> None:
    site.add_module("torch", "")
    site.add_platform("alpha", before="import torch")
    assert any(
        "alpha (vllm-plugin-alpha 1.0) imported torch while" in line for line in messages(site.run(RESOLVE).stderr)
    )


# ---- the rule


def test_an_accelerator_comes_before_a_fallback(site: PluginSite) -> None:
    site.add_platform("a_fallback", is_fallback=True)
    site.add_platform("chip")
    assert site.run(RESOLVE).stdout == "chip\n"


def test_a_fallback_runs_where_no_accelerator_is_usable(site: PluginSite) -> None:
    site.add_platform("reserve", is_fallback=True)
    site.add_plugin("chip", "from vllm.plugins import Unavailable\ndef register(): raise Unavailable('no card')")
    assert site.run(RESOLVE).stdout == "reserve\n"


def test_two_usable_accelerators_are_the_users_choice(site: PluginSite) -> None:
    site.add_platform("one")
    site.add_platform("two")
    assert failure(site) == (
        "PlatformConflictError: 2 platforms are usable here, and nothing says which to take: "
        "one (vllm-plugin-one 1.0) and two (vllm-plugin-two 1.0).\n  Remedy: set VLLM_PLATFORM to one of one, two"
    )
    assert site.run(RESOLVE, VLLM_PLATFORM="two").stdout == "two\n"


def test_the_named_platform_is_the_only_one_asked(site: PluginSite) -> None:
    site.add_platform("one")
    site.add_plugin("other", "open('imported', 'w')")
    assert site.run(RESOLVE, VLLM_PLATFORM="one").stdout == "one\n"
    assert not (site.folder / "imported").exists()


def test_a_named_platform_that_is_unusable_is_not_replaced(site: PluginSite) -> None:
    site.add_platform("reserve", is_fallback=True)
    site.add_plugin(
        "chip", "from vllm.plugins import Unavailable\ndef register(): raise Unavailable('no card', 'plug it in')"
    )
    assert failure(site, VLLM_PLATFORM="chip") == (
        "NoPlatformError: VLLM_PLATFORM is 'chip', but that platform is not usable here:\n"
        "  - chip (vllm-plugin-chip 1.0): no card. Remedy: plug it in.\n"
        "  Remedy: do what is said above, or unset VLLM_PLATFORM to use what is usable"
    )


def test_a_misspelt_platform_gets_near_names(site: PluginSite) -> None:
    site.add_platform("mychip")
    assert failure(site, VLLM_PLATFORM="mychp") == (
        "NoPlatformError: VLLM_PLATFORM is 'mychp', but no installed platform plugin has this name; installed: mychip.\n"
        "  Remedy: unset VLLM_PLATFORM, or set it to an installed name\n  Did you mean: mychip?"
    )


def test_the_core_alone_says_what_to_install(site: PluginSite) -> None:
    assert failure(site) == (
        "NoPlatformError: No platform plugin is installed, and vLLM's core runs on no hardware by itself.\n"
        "  Remedy: pip install vllm-plugin-cpu-ref (runs on any CPU), or install the plugin of your accelerator"
    )


def test_none_usable_lists_every_reason(site: PluginSite) -> None:
    site.add_plugin("chip", "from vllm.plugins import Unavailable\ndef register(): raise Unavailable('no card')")
    site.add_platform("reserve", is_fallback=True)
    assert failure(site, VLLM_PLUGINS="chip") == (
        "NoPlatformError: No platform is usable here:\n"
        "  - chip (vllm-plugin-chip 1.0): no card.\n"
        "  - reserve (vllm-plugin-reserve 1.0): VLLM_PLUGINS='chip' leaves it out. Remedy: add reserve to VLLM_PLUGINS.\n"
        "  Remedy: pip install vllm-plugin-cpu-ref (runs on any CPU), or install the plugin of your accelerator"
    )


# ---- once per process


def test_sixteen_threads_ask_each_plugin_once_and_get_one_platform(site: PluginSite) -> None:
    site.add_platform("alpha", before="open('calls', 'a').write('x')")
    code = """
    import threading
    from vllm import platforms
    found, start = [], threading.Barrier(16)
    def take():
        start.wait()
        found.append(platforms.current_platform)
    threads = [threading.Thread(target=take) for _ in range(16)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    print(len(found), len({id(platform) for platform in found}))
    """
    assert site.run(code).stdout == "16 1\n"
    assert (site.folder / "calls").read_text() == "x"


def test_a_failed_choice_can_be_made_again_without_asking_again(site: PluginSite) -> None:
    for name in ("one", "two"):
        site.add_platform(name, before="open('calls', 'a').write('x')")
    code = """
    import os
    from vllm.errors import PlatformConflictError
    from vllm.platforms import resolve_platform
    try:
        resolve_platform()
    except PlatformConflictError:
        os.environ["VLLM_PLATFORM"] = "two"
    print(resolve_platform().name)
    """
    assert site.run(code).stdout == "two\n"
    assert (site.folder / "calls").read_text() == "xx"


def test_a_plugin_that_was_left_out_can_be_let_in_later(site: PluginSite) -> None:
    site.add_platform("alpha")
    code = """
    import os
    from vllm.errors import NoPlatformError
    from vllm.platforms import resolve_platform
    try:
        resolve_platform()
    except NoPlatformError:
        del os.environ["VLLM_PLUGINS"]
    print(resolve_platform().name)
    """
    assert site.run(code, VLLM_PLUGINS="").stdout == "alpha\n"


def test_a_platform_whose_constructor_raises_is_named(site: PluginSite) -> None:
    site.add_platform("alpha")
    site.add_module("plugin_alpha", "from platform_alpha import FakePlatform\nclass P(FakePlatform):\n"
                    "    def __init__(self): raise OSError('busy')\ndef register(): return 'plugin_alpha.P'")  # fmt: skip
    assert failure(site).splitlines()[0] == (
        "PluginError: The platform alpha (vllm-plugin-alpha 1.0) is usable, but plugin_alpha.P() raised OSError: busy"
    )


def test_a_child_follows_its_configuration_without_discovery(site: PluginSite) -> None:
    site.add_platform("alpha")
    site.add_platform("beta")
    code = """
    from vllm.platforms import load_platform, platform_path, use_platform
    used = use_platform("platform_beta:FakePlatform")
    from vllm.platforms import current_platform
    print(current_platform is used, load_platform("platform_beta:FakePlatform") is used, platform_path(used))
    """
    result = site.run(code)
    assert result.stdout == "True True platform_beta.FakePlatform\n"
    assert result.stderr == ""


# ---- torch


def test_torch_is_told_to_load_no_vendor_before_any_plugin_runs(site: PluginSite) -> None:
    site.add_platform("alpha", before="import os; open('seen', 'w').write(os.environ['TORCH_DEVICE_BACKEND_AUTOLOAD'])")
    site.run(RESOLVE)
    assert (site.folder / "seen").read_text() == "0"
    site.run(RESOLVE, TORCH_DEVICE_BACKEND_AUTOLOAD="1")
    assert (site.folder / "seen").read_text() == "1", "what the user exported is kept"


def test_resolution_imports_nothing_heavy(site: PluginSite) -> None:
    site.add_platform("alpha")
    heavy = site.ask(
        "sorted({'torch', 'numpy', 'transformers', 'multiprocessing'} & set(sys.modules))",
        setup="import sys\nfrom vllm.platforms import resolve_platform\nresolve_platform()",
    )
    assert json.dumps(heavy) == "[]"
