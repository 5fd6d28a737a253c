"""What the wheels session accepts from an installed command. (The session itself builds and runs real wheels.)"""

from __future__ import annotations

import pytest

from ci.wheels import Outcome, expect


def outcome(code: int, text: str) -> Outcome:
    return Outcome(command=("vllm", "generate"), code=code, text=text)


def test_the_right_ending_with_the_right_words_passes() -> None:
    expect(outcome(0, "Count: 20 21 22"), succeeds=True, saying=("20 21",))
    expect(outcome(1, "No platform"), succeeds=False, saying=("No platform",))


@pytest.mark.parametrize(
    "done, succeeds, saying, told",
    [
        (outcome(1, "20 21"), True, ("20 21",), "should succeed"),
        (outcome(0, "No platform"), False, ("No platform",), "should fail"),
        (outcome(1, "Traceback"), False, ("No platform",), "did not say 'No platform'"),
        (outcome(0, ""), True, ("20 21",), "did not say '20 21'"),
    ],
)
def test_anything_else_is_an_error_with_the_output(
    done: Outcome, succeeds: bool, saying: tuple[str, ...], told: str
) -> None:
    with pytest.raises(RuntimeError, match=told) as caught:
        expect(done, succeeds=succeeds, saying=saying)
    assert done.text in str(caught.value)
