"""The tutorial's runner: what it reads from a page, and that it notices a page that is not true."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ci.tutorial import PAGE, Step, missing_lines, run_steps, steps

TEXT = """# Title

```bash
a=1
echo "one  $a"
```

Words.

```text
one 1
```

```python
not run
```

```bash
echo "two $a"
```
"""


def test_a_pages_blocks_become_steps() -> None:
    assert steps(TEXT) == [
        Step(line=3, script='a=1\necho "one  $a"\n', says=("one 1",)),
        Step(line=18, script='echo "two $a"\n', says=()),
    ]


def test_lines_are_wanted_in_order_and_blanks_are_alike() -> None:
    assert missing_lines("x  one   1\ny\ntwo\n", ("one 1", "two")) == []
    assert missing_lines("two\none 1\n", ("one 1", "two")) == ["two"]


def run(text: str, folder: Path) -> None:
    run_steps(steps(text), folder, dict(os.environ))


def test_all_steps_share_one_shell(tmp_path: Path) -> None:
    run(TEXT.replace('echo "two $a"', 'test "$a" = 1 && touch done'), tmp_path)
    assert (tmp_path / "done").is_file()


@pytest.mark.parametrize(
    "old, new, complaint",
    [
        ('echo "two $a"', "false", r"your-chip-in-an-hour\.md:18 ended with 1"),
        ("a=1", "cat nothing | wc -l", r"your-chip-in-an-hour\.md:3 ended with 1"),
        ("a=1", "exit", r"your-chip-in-an-hour\.md:3 did not say"),
        ('echo "one  $a"', 'echo "one 1"; exit', "ended with 0 after 1 of its 2 steps"),
        ("a=1", "a=2", r"your-chip-in-an-hour\.md:3 did not say 'one 1'"),
    ],
)
def test_a_page_that_is_not_true_is_noticed_by_its_line(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    with pytest.raises(RuntimeError, match=complaint):
        run(TEXT.replace(old, new), tmp_path)


def test_the_tutorial_generates_builds_and_tests() -> None:
    script = "".join(step.script for step in steps(PAGE.read_text()))
    for command in (
        "vllm plugin new mychip",
        "-m build --wheel",
        "vllm plugin test mychip",
        "VLLM_PLATFORM=mychip vllm generate",
    ):
        assert command in script
