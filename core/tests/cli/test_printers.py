"""What is printed, in which order, while outputs grow."""

from __future__ import annotations

import io
import json

from vllm.entrypoints.cli.printers import JsonPrinter, TextPrinter
from vllm.outputs import CompletionOutput, Logprob, RequestOutput


def _output(text: str, *, nth: int = 0, ended: bool = False) -> RequestOutput:
    one = CompletionOutput(index=nth, text=text, token_ids=[1], finish_reason="stop" if ended else None)
    return RequestOutput("r", "p", [5], None, [one], finished=ended)


def test_one_prompt_is_printed_as_it_grows_without_label() -> None:
    stream = io.StringIO()
    printer = TextPrinter(stream, ["Count:"], 1)
    printer.take(0, _output(" 1"))
    assert stream.getvalue() == "Count: 1"
    printer.take(0, _output(" 2", ended=True))
    assert stream.getvalue() == "Count: 1 2\n"


def test_several_prompts_keep_their_order() -> None:
    stream = io.StringIO()
    printer = TextPrinter(stream, ["a", "b", "c"], 1)
    printer.take(1, _output("B", ended=True))
    printer.take(2, _output("C"))
    printer.take(0, _output("A"))
    assert stream.getvalue() == "[0] aA"
    printer.take(0, _output("!", ended=True))
    assert stream.getvalue() == "[0] aA!\n[1] bB\n[2] cC"
    printer.take(2, _output("?", ended=True))
    assert stream.getvalue() == "[0] aA!\n[1] bB\n[2] cC?\n"


def test_several_outputs_of_one_prompt_are_numbered() -> None:
    stream = io.StringIO()
    printer = TextPrinter(stream, ["a"], 2)
    printer.take(0, _output("Y", nth=1, ended=True))
    printer.take(0, _output("X", nth=0, ended=True))
    assert stream.getvalue() == "[0.0] aX\n[0.1] aY\n"


def test_a_refused_prompt_holds_nobody_up() -> None:
    stream = io.StringIO()
    printer = TextPrinter(stream, ["a", "b"], 1)
    printer.refuse(0)
    printer.take(1, _output("B", ended=True))
    assert stream.getvalue() == "[1] bB\n"


def test_json_lines_come_when_a_prompt_is_done() -> None:
    stream = io.StringIO()
    printer = JsonPrinter(stream)
    printer.take(3, _output("half"))
    assert stream.getvalue() == ""
    done = _output("ü", ended=True)
    done.outputs[0].logprobs = [{7: Logprob(logprob=-0.5, rank=1, decoded_token="ü")}]
    done.outputs[0].cumulative_logprob = -0.5
    printer.take(3, done)
    assert json.loads(stream.getvalue()) == {
        "index": 3,
        "prompt": "p",
        "prompt_token_ids": [5],
        "outputs": [
            {
                "index": 0,
                "text": "ü",
                "token_ids": [1],
                "finish_reason": "stop",
                "stop_reason": None,
                "cumulative_logprob": -0.5,
                "logprobs": [{"7": {"logprob": -0.5, "rank": 1, "token": "ü"}}],
            }
        ],
    }
