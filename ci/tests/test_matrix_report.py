"""What comes out of a run: exit status, JSON there and back, the terminal's table, and the page."""

from __future__ import annotations

import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from ci.environments import CONSTRAINTS
from ci.matrix.cells import cells
from ci.matrix.declared import Stack, load
from ci.matrix.machine import brings_cuda
from ci.matrix.page import page
from ci.matrix.places import slug, stack_constraints
from ci.matrix.results import Broken, Result, Status, exit_status, read_results, tally, write_results
from ci.matrix.table import Table, duration, summary
from ci.matrix.verdicts import of_kit, of_listing, of_step, of_tests
from ci.processes import Ending

ABOUT = {"commit": "0123456789abcdef", "changed": False, "finished": "2026-11-22T12:00:00+00:00", "wanted": 5}


def row(status: Status, *, core: str = "tree", release: str = "tree", **fields: object) -> Result:
    values: dict[str, object] = {
        "cell": f"plugin(spyre {release}, core={core}, py=3.11)",
        "package": "spyre",
        "release": release,
        "core": core,
        "python": "3.11",
        "torch": "2.13.0",
        "transformers": "5.23.0",
        "variant": "eager",
        "status": status,
        "why": "",
        "broken": (),
        "counts": {},
        "seconds": 1.0,
        "versions": {},
        "log": "",
    }
    return Result(**values | fields)  # type: ignore[arg-type]


BROKEN = Broken(law="generation.batched_equals_alone float32", why="7 <tokens> differ\nfrom row 3")
ROWS = [
    row(Status.PASSED, core="0.10.0", counts={"passed": 71}, seconds=185.2),
    row(Status.FAILED, core="0.9.0", broken=(BROKEN,), why=BROKEN.why, log="logs/a.txt"),
    row(Status.EXCUSED, core="0.9.0", release="0.1.0", why="wants vllm-core <0.2,>=0.1, and says so beside 0.9.0"),
    row(Status.NOT_RUNNABLE, cell="plugin(spyre, core=tree, py=3.12)", python="3.12", why="no Python 3.12 here"),
    row(Status.UNBUILT, why="SyntaxError"),
]


@pytest.mark.parametrize(
    "statuses, code",
    [
        ([Status.PASSED, Status.NOT_RUNNABLE], 0),
        ([Status.PASSED, Status.FAILED], 1),
        ([Status.PASSED, Status.UNBUILT], 1),
        ([Status.NOT_RUNNABLE], 3),
        ([], 3),
        ([Status.EXCUSED], 0),
        ([Status.EXCUSED, Status.FAILED], 1),
    ],
)
def test_a_run_is_never_green_by_absence(statuses: list[Status], code: int) -> None:
    assert exit_status([row(status) for status in statuses]) == code


def test_excuses_alone_prove_that_refusals_work_and_are_not_told_as_passes() -> None:
    excused = [row(Status.EXCUSED), row(Status.NOT_RUNNABLE)]
    assert exit_status(excused) == 0
    assert not [line for line in summary(excused) if "nothing was proven" in line]
    verdict = page(excused, ABOUT | {"wanted": 2})
    assert "Only refusals were proven" in verdict
    assert "passes" not in verdict
    assert "nothing was proven" in list(summary([row(Status.NOT_RUNNABLE)]))[-1]


def test_the_json_is_read_back_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "matrix.json"
    write_results(ROWS, ABOUT, file)
    assert read_results(file) == ROWS
    assert '"tally": {\n    "pass": 1,\n    "fail": 1,' in file.read_text()
    assert tally(ROWS)[Status.EXCUSED] == 1


def test_the_table_has_a_line_per_cell_and_tells_what_broke() -> None:
    out = io.StringIO()
    table = Table(out, width=40)
    for each in ROWS:
        table.start(each.cell)
        table.finish(each)
    table.close(ROWS)
    lines = out.getvalue().splitlines()
    assert lines[0] == "plugin(spyre tree, core=0.10.0, py=3.11)  pass            3:05  71 passed"
    assert lines[1].endswith("fail           1.0 s  generation.batched_equals_alone float32")
    assert lines[3].endswith("not runnable   1.0 s  no Python 3.12 here")
    assert "  | 7 <tokens> differ" in lines
    assert lines[-1] == "5 cells: 1 pass, 1 fail, 1 excused, 1 not runnable, 1 not built, 3:09"
    assert "\033" not in out.getvalue()


class Reader(HTMLParser):
    """Collects ids, links, and what a page would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids += [value for key, value in attrs if key == "id" and value]
        self.links += [value for key, value in attrs if key == "href" and value]
        self.fetched += [tag] if tag in ("script", "img", "link", "iframe") or "src" in given else []
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_fetches_nothing_and_its_links_lead_somewhere() -> None:
    reader = Reader()
    text = page(ROWS, ABOUT)
    reader.feed(text)
    assert reader.open == []
    assert reader.fetched == []
    assert {link.removeprefix("#") for link in reader.links if link.startswith("#")} <= set(reader.ids)
    assert len(reader.ids) == len(set(reader.ids))
    assert "7 &lt;tokens&gt; differ" in text
    assert "2 of 5 cells fail" in text
    assert re.search(r"core 0\.9\.0</th><th>core 0\.10\.0</th><th>core tree", text)


def test_the_page_of_an_unfinished_or_empty_run_says_so() -> None:
    assert "Every cell passes, 4 are to come" in page(ROWS[:1], ABOUT)
    assert "Nothing was proven" in page([], ABOUT)
    assert "<h1>No cell is affected</h1>" in page([], ABOUT | {"wanted": 0})
    assert "Every cell that could run passes" in page([ROWS[0], ROWS[3]], ABOUT | {"wanted": 2})


def test_every_cell_has_a_file_name_of_its_own() -> None:
    names = [cell.name for cell in cells(load())]
    assert len({slug(name) for name in names}) == len(names)
    assert slug("plugin(ascend, core=0.1.0, py=3.11)") == "plugin-ascend-core=0.1.0-py=3.11"


@pytest.mark.parametrize("seconds, text", [(0.44, "0.4 s"), (38.4, "38 s"), (185.2, "3:05"), (3600, "60:00")])
def test_durations_are_short(seconds: float, text: str) -> None:
    assert duration(seconds) == text


# -- what steps leave behind


def test_of_a_law_that_raised_the_error_comes_first(tmp_path: Path) -> None:
    raised = (
        "Traceback (most recent call last):\n" + "".join(f"  line {number}\n" for number in range(20)) + "KeyError: 7\n"
    )
    law = {"law": "contract.x", "dtype": None, "status": "error", "detail": raised}
    (tmp_path / "report.json").write_text(json.dumps({"outcomes": [law]}))
    outcome = of_kit(Ending(code=1, seconds=1), tmp_path / "report.json", "")
    assert outcome.why.splitlines() == ["KeyError: 7", *(f"  line {number}" for number in range(14, 20))]


def test_a_step_that_fails_names_its_status_or_its_time() -> None:
    assert of_step("cann-sim build", Ending(code=0, seconds=1), "").status is Status.PASSED
    assert (
        of_step("cann-sim build", Ending(code=2, seconds=1), "g++: no").broken[0].law == "cann-sim build: ended with 2"
    )
    assert of_step("cann-sim build", Ending(code=None, seconds=1), "").broken[0].law == "cann-sim build: over its time"


@pytest.mark.parametrize(
    "listing, status",
    [
        ("  spyre    vllm-plugin-spyre  0.1  >=0.1  not usable\n", Status.PASSED),
        ("  spyre    vllm-plugin-spyre  0.1  >=0.1  refused\n", Status.FAILED),
        ("  cpu_ref  vllm-plugin-cpu-ref  0.1  >=0.1  fallback\n", Status.FAILED),
    ],
)
def test_a_plugin_must_be_listed_and_not_refused(listing: str, status: Status) -> None:
    assert of_listing(Ending(code=0, seconds=1), listing, "spyre").status is status


def test_tests_that_all_skip_are_no_pass(tmp_path: Path) -> None:
    junit = tmp_path / "junit.xml"
    junit.write_text(
        '<testsuites><testsuite><testcase classname="a" name="b"><skipped/></testcase></testsuite></testsuites>'
    )
    assert of_tests(Ending(code=0, seconds=1), junit, "1 skipped").status is Status.FAILED
    junit.write_text(
        '<testsuites><testsuite><testcase classname="a" name="b"/>'
        '<testcase classname="a" name="c"><failure message="1 != 2"/></testcase></testsuite></testsuites>'
    )
    outcome = of_tests(Ending(code=1, seconds=1), junit, "")
    assert (outcome.counts, outcome.broken) == ({"passed": 1, "failed": 1}, (Broken(law="a.c", why="1 != 2"),))


def test_a_build_that_brings_cuda_is_told_from_one_for_cpus() -> None:
    plain = {"metadata": {"requires_dist": ["filelock", 'nvidia-cublas; extra == "gpu"']}}
    assert brings_cuda(plain) is None
    cuda = {"metadata": {"requires_dist": ["filelock", 'nvidia-cublas==13.1; platform_system == "Linux"']}}
    assert brings_cuda(cuda) == "nvidia-cublas"


def test_another_torch_is_pinned_and_what_it_brings_is_not(tmp_path: Path) -> None:
    declared = load()
    assert stack_constraints(declared.main, declared, tmp_path) == CONSTRAINTS
    main = declared.main
    other = Stack(python=main.python, torch="2.12.0", transformers=main.transformers)
    lines = stack_constraints(other, declared, tmp_path).read_text().splitlines()
    assert [line for line in lines if line.startswith(("torch", "sympy"))] == ["torch==2.12.0"]
    assert any(line.startswith("tokenizers==") for line in lines)
